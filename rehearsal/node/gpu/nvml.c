/*
 * A stand-in of NVIDIA's management library (libnvidia-ml.so.1) for a machine without a GPU.
 *
 * NVIDIA's device plugin, feature discovery and container runtime ask NVML which GPUs there are. This library answers
 * from a text file (nvml_facts.h), so one build serves every card. It has the functions that these programs call, and no
 * others: Go looks a function up only when it is called.
 */
#include <pthread.h>

#include "nvml_facts.h"

#define MIB (1ULL << 20)
#define NO_INSTANCE 0xFFFFFFFF
#define POLL_MILLISECONDS 200

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const nvmlGpuInstanceProfileInfo_t *profile_of(device_t gpu, unsigned int id) {
    for (unsigned int i = 0; i < gpu->profiles; i++)
        if (gpu->profile[i].id == id)
            return &gpu->profile[i];
    return NULL;
}

static nvmlReturn_t text(char *to, unsigned int length, const char *from) {
    return snprintf(to, length, "%s", from) < (int)length ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

#define GIVE(target, value) return *(target) = (value), NVML_SUCCESS
#define UNSUPPORTED(signature) nvmlReturn_t signature { return NVML_ERROR_NOT_SUPPORTED; }

/* ---- the library and the system */

nvmlReturn_t nvmlInit_v2(void) {
    nvmlReturn_t code = NVML_SUCCESS;
    pthread_mutex_lock(&lock);
    if (!found && !read_facts(read_line))
        code = NVML_ERROR_DRIVER_NOT_LOADED;
    pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { return nvmlInit_v2(); }
nvmlReturn_t nvmlShutdown(void) { return NVML_SUCCESS; }

const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) { return text(version, length, driver); }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) { return text(version, length, driver); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) { GIVE(version, cuda); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { GIVE(version, cuda); }
UNSUPPORTED(nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state))

/* ---- GPUs */

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { GIVE(count, seen_gpus); }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (index >= seen_gpus)
        return NVML_ERROR_INVALID_ARGUMENT;
    GIVE(&device->handle, visible[index]);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    for (unsigned int i = 0; i < seen_gpus; i++) {
        if (!strcmp(visible[i]->uuid, uuid))
            GIVE(&device->handle, visible[i]);
        for (unsigned int j = 0; j < visible[i]->migs; j++)
            if (!strcmp(visible[i]->part[j]->uuid, uuid))
                GIVE(&device->handle, visible[i]->part[j]);
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device) {
    for (unsigned int i = 0; i < seen_gpus; i++)
        if (!strcasecmp(visible[i]->bus_id, bus_id))
            GIVE(&device->handle, visible[i]);
    return NVML_ERROR_NOT_FOUND;
}

static device_t whole(nvmlDevice_t device) { return device.handle->parent ? device.handle->parent : device.handle; }

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) { GIVE(index, device.handle->index); }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    return text(uuid, length, device.handle->uuid);
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    return text(name, length, whole(device)->name);
}
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor) { GIVE(minor, whole(device)->minor); }
nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *brand) { GIVE(brand, whole(device)->brand); }
nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *architecture) {
    GIVE(architecture, whole(device)->architecture);
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    *major = whole(device)->major;
    GIVE(minor, whole(device)->minor_capability);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    device_t it = device.handle;
    const nvmlGpuInstanceProfileInfo_t *profile = it->parent ? profile_of(it->parent, it->instance->profile) : NULL;
    memory->total = memory->free = (profile ? profile->memorySizeMB : it->memory) * MIB;
    GIVE(&memory->used, 0);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    device_t gpu = whole(device);
    memset(pci, 0, sizeof *pci);
    sscanf(gpu->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    pci->pciDeviceId = gpu->device << 16 | 0x10DE;
    text(pci->busIdLegacy, sizeof pci->busIdLegacy, gpu->bus_id + 4); /* four digits of the domain instead of eight */
    return text(pci->busId, sizeof pci->busId, gpu->bus_id);
}

nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, nvmlGpuVirtualizationMode_t *mode) {
    GIVE(mode, NVML_GPU_VIRTUALIZATION_MODE_NONE);
}
nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, nvmlGpuTopologyLevel_t *level) {
    GIVE(level, NVML_TOPOLOGY_HOSTBRIDGE);
}
nvmlReturn_t nvmlDeviceSetComputeMode(nvmlDevice_t device, nvmlComputeMode_t mode) { return NVML_SUCCESS; }
UNSUPPORTED(nvmlDeviceGetNumaNodeId(nvmlDevice_t device, unsigned int *node))
UNSUPPORTED(nvmlDeviceGetAddressingMode(nvmlDevice_t device, nvmlDeviceAddressingMode_t *mode))
UNSUPPORTED(nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info))
UNSUPPORTED(nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info))
UNSUPPORTED(nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, nvmlEnableState_t *active))
UNSUPPORTED(nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *pci))

/* ---- MIG */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    if (device.handle->parent || !strcmp(device.handle->mig, "none"))
        return NVML_ERROR_NOT_SUPPORTED;
    *current = !strcmp(device.handle->mig, "enabled");
    GIVE(pending, *current);
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    GIVE(count, device.handle->profiles ? 7 : 0);
}
nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *is_mig) {
    GIVE(is_mig, device.handle->parent != NULL);
}
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig) {
    if (index >= device.handle->migs)
        return NVML_ERROR_NOT_FOUND;
    GIVE(&mig->handle, device.handle->part[index]);
}
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t *device) {
    if (!mig.handle->parent)
        return NVML_ERROR_INVALID_ARGUMENT;
    GIVE(&device->handle, mig.handle->parent);
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t mig, unsigned int *id) {
    if (!mig.handle->parent)
        return NVML_ERROR_INVALID_ARGUMENT;
    GIVE(id, mig.handle->instance->id);
}
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t mig, unsigned int *id) {
    if (!mig.handle->parent)
        return NVML_ERROR_INVALID_ARGUMENT;
    GIVE(id, 0);
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t mig, nvmlDeviceAttributes_t *attributes) {
    if (!mig.handle->parent)
        return NVML_ERROR_INVALID_ARGUMENT;
    const nvmlGpuInstanceProfileInfo_t *profile = profile_of(mig.handle->parent, mig.handle->instance->profile);
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessorCount = profile->multiprocessorCount, .sharedCopyEngineCount = profile->copyEngineCount,
        .sharedDecoderCount = profile->decoderCount, .sharedJpegCount = profile->jpegCount,
        .sharedOfaCount = profile->ofaCount, .gpuInstanceSliceCount = profile->sliceCount,
        .computeInstanceSliceCount = profile->sliceCount, .memorySizeMB = profile->memorySizeMB};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t gpu, unsigned int id, nvmlGpuInstanceProfileInfo_t *info) {
    const nvmlGpuInstanceProfileInfo_t *profile = profile_of(gpu.handle, id);
    if (!profile)
        return NVML_ERROR_NOT_SUPPORTED;
    GIVE(info, *profile);
}
nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t gpu, unsigned int id, nvmlGpuInstance_t *instance) {
    for (unsigned int i = 0; i < gpu.handle->migs; i++)
        if (gpu.handle->part[i]->instance->id == id)
            GIVE(&instance->handle, gpu.handle->part[i]->instance);
    return NVML_ERROR_NOT_FOUND;
}
nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t *info) {
    *info = (nvmlGpuInstanceInfo_t){
        .device.handle = instance.handle->gpu, .id = instance.handle->id, .profileId = instance.handle->profile};
    return NVML_SUCCESS;
}

/* The only compute instance of a GPU instance has all of its slices. It is known by the GPU instance's own handle. */
static unsigned int compute_profile(instance_t instance) {
    switch (profile_of(instance->gpu, instance->profile)->sliceCount) {
    case 1: return NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE;
    case 2: return NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE;
    case 3: return NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE;
    case 4: return NVML_COMPUTE_INSTANCE_PROFILE_4_SLICE;
    default: return NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE;
    }
}
nvmlReturn_t nvmlGpuInstanceGetComputeInstanceById(nvmlGpuInstance_t instance, unsigned int id, nvmlComputeInstance_t *it) {
    if (id)
        return NVML_ERROR_NOT_FOUND;
    GIVE(&it->handle, (struct nvmlComputeInstance_st *)instance.handle);
}
nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlGpuInstance_t instance, unsigned int id, unsigned int engine,
                                                          nvmlComputeInstanceProfileInfo_t *info) {
    if (id != compute_profile(instance.handle) || engine)
        return NVML_ERROR_NOT_SUPPORTED;
    *info = (nvmlComputeInstanceProfileInfo_t){.id = id, .instanceCount = 1};
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlComputeInstanceGetInfo_v2(nvmlComputeInstance_t compute, nvmlComputeInstanceInfo_t *info) {
    instance_t instance = (instance_t)compute.handle;
    *info = (nvmlComputeInstanceInfo_t){
        .device.handle = instance->gpu, .gpuInstance.handle = instance, .profileId = compute_profile(instance)};
    return NVML_SUCCESS;
}

/* ---- errors that a GPU reports */

static _Thread_local unsigned int errors, wanted, error_gpu, error_code;

static void count_error(const char *line) {
    unsigned int gpu, code;
    if (sscanf(line, "xid %u %u", &gpu, &code) == 2 && errors++ == wanted) {
        error_gpu = gpu;
        error_code = code;
    }
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    set->handle = calloc(1, sizeof *set->handle);
    errors = 0, wanted = NO_INSTANCE;
    read_facts(count_error);
    GIVE(&set->handle->seen, errors);
}
nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) { return free(set.handle), NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    GIVE(types, nvmlEventTypeXidCriticalError);
}
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int milliseconds) {
    for (unsigned int waited = 0;; waited += POLL_MILLISECONDS) {
        errors = 0, wanted = set.handle->seen;
        read_facts(count_error);
        if (errors > wanted && error_gpu < found) {
            set.handle->seen++;
            *data = (nvmlEventData_t){
                .device.handle = &gpus[error_gpu], .eventType = nvmlEventTypeXidCriticalError, .eventData = error_code,
                .gpuInstanceId = NO_INSTANCE, .computeInstanceId = NO_INSTANCE};
            return NVML_SUCCESS;
        }
        if (waited >= milliseconds)
            return NVML_ERROR_TIMEOUT;
        usleep(POLL_MILLISECONDS * 1000);
    }
}
