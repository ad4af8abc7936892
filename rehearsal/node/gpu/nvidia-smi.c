/* A stand-in of nvidia-smi: the GPUs that NVML shows here. It knows `-L`, and `-i GPU -c MODE`, which NVIDIA's MPS uses. */
#include <stdio.h>
#include <string.h>

#include <nvml.h>

static void print_parts(nvmlDevice_t gpu) {
    unsigned int most = 0;
    nvmlDeviceGetMaxMigDeviceCount(gpu, &most);
    for (unsigned int i = 0; i < most; i++) {
        nvmlDevice_t part;
        nvmlDeviceAttributes_t has;
        char uuid[80];
        if (nvmlDeviceGetMigDeviceHandleByIndex(gpu, i, &part) || nvmlDeviceGetAttributes_v2(part, &has) ||
            nvmlDeviceGetUUID(part, uuid, sizeof uuid))
            continue;
        printf("  MIG %ug, %llu MiB   Device %2u: (UUID: %s)\n", has.gpuInstanceSliceCount, has.memorySizeMB, i, uuid);
    }
}

int main(int count, char **words) {
    unsigned int gpus = 0;
    nvmlReturn_t failed = nvmlInit_v2();
    if (failed) {
        printf("NVIDIA-SMI has failed: %s (a stand-in, without a GPU)\n", nvmlErrorString(failed));
        return 9;
    }
    for (int i = 1; i < count; i++)
        if (!strcmp(words[i], "-c"))
            return printf("Compute mode is set (a stand-in, without a GPU).\n"), 0;
    nvmlDeviceGetCount_v2(&gpus);
    char driver[80];
    int cuda;
    if (count == 1 && !nvmlSystemGetDriverVersion(driver, sizeof driver) && !nvmlSystemGetCudaDriverVersion(&cuda))
        printf("Driver Version: %s   CUDA Version: %d.%d\n", driver, cuda / 1000, cuda % 1000 / 10);
    for (unsigned int i = 0; i < gpus; i++) {
        nvmlDevice_t gpu;
        nvmlMemory_t memory;
        char name[96], uuid[80];
        if (nvmlDeviceGetHandleByIndex_v2(i, &gpu) || nvmlDeviceGetName(gpu, name, sizeof name) ||
            nvmlDeviceGetUUID(gpu, uuid, sizeof uuid) || nvmlDeviceGetMemoryInfo(gpu, &memory))
            return 1;
        if (count > 1 && !strcmp(words[1], "-L"))
            printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
        else
            printf("GPU %u: %s, %llu MiB (UUID: %s; a stand-in, without a GPU)\n", i, name, memory.total >> 20, uuid);
        print_parts(gpu);
    }
    return gpus ? 0 : printf("No devices were found\n"), gpus ? 0 : 6;
}
