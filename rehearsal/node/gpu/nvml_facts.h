/*
 * The facts of a machine's GPUs, which nvml.c answers from.
 *
 * The file (FACTS, or $NVML_FACTS) has one line for each fact; cards.py writes it:
 *   driver 580.95.05
 *   cuda 13000
 *   nodes /dev                     a GPU is there where its node in this folder is; without the line all are there
 *   gpu UUID BUS_ID DEVICE MEMORY MAJOR MINOR ARCHITECTURE BRAND MIG NAME
 *                                  MEMORY in MiB; MIG is none, disabled or enabled; numbers are those of nvml.h
 *   profile ID SLICES COUNT MEMORY MULTIPROCESSORS COPY DECODERS JPEG OFA
 *                                  of the GPU before it: how a GPU instance of this profile would be
 *   instance ID PROFILE CAPABILITY UUID
 *                                  of the GPU before it: a GPU instance with one compute instance, which is all of it;
 *                                  CAPABILITY is the minor number of its node in nvidia-caps
 *   xid GPU CODE                   the GPU reports this error from the moment when the line is appended
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nvml.h>

#define MOST_GPUS 16
#define MOST_PARTS 32

typedef struct nvmlGpuInstance_st *instance_t;
typedef struct nvmlDevice_st *device_t;

struct nvmlGpuInstance_st {
    device_t gpu;
    unsigned int id, profile, capability;
};

struct nvmlDevice_st { /* a GPU, or a MIG device: then `parent` and `instance` are set */
    char uuid[80], name[96], bus_id[32], mig[16];
    unsigned int minor, device, memory, major, minor_capability, architecture, brand, index;
    unsigned int profiles, migs;
    nvmlGpuInstanceProfileInfo_t profile[MOST_PARTS];
    struct nvmlGpuInstance_st instances[MOST_PARTS];
    device_t part[MOST_PARTS];
    device_t parent;
    instance_t instance;
};

struct nvmlEventSet_st {
    unsigned int seen; /* lines with an error that were reported, or are older than the set */
};

static struct nvmlDevice_st gpus[MOST_GPUS], parts[MOST_GPUS][MOST_PARTS];
static device_t visible[MOST_GPUS];
static unsigned int found, seen_gpus;
static int cuda;
static char driver[32], nodes[256];

static const char *facts_path(void) {
    const char *chosen = getenv("NVML_FACTS");
    return chosen ? chosen : FACTS;
}

static bool has_node(const char *pattern, unsigned int minor) {
    char path[512];
    int length = snprintf(path, sizeof path, "%s", nodes);
    snprintf(path + length, sizeof path - length, pattern, minor);
    return !*nodes || !access(path, F_OK);
}

static void read_part(device_t gpu, const char *line) {
    instance_t instance = &gpu->instances[gpu->migs];
    device_t part = &parts[gpu->minor][gpu->migs];
    if (sscanf(line, "instance %u %u %u %79s", &instance->id, &instance->profile, &instance->capability, part->uuid) != 4 ||
        !has_node("/nvidia-caps/nvidia-cap%u", instance->capability))
        return;
    instance->gpu = part->parent = gpu;
    part->instance = instance;
    part->index = gpu->migs;
    gpu->part[gpu->migs++] = part;
}

static void read_line(const char *line) {
    device_t gpu = &gpus[found];
    if (sscanf(line, "driver %31s", driver) == 1 || sscanf(line, "cuda %d", &cuda) == 1 ||
        sscanf(line, "nodes %255s", nodes) == 1)
        return;
    if (sscanf(line, "gpu %79s %31s %x %u %u %u %u %u %15s %95[^\n]", gpu->uuid, gpu->bus_id, &gpu->device,
               &gpu->memory, &gpu->major, &gpu->minor_capability, &gpu->architecture, &gpu->brand,
               gpu->mig, gpu->name) == 10 && found < MOST_GPUS - 1) {
        gpu->minor = found++;
        if (has_node("/nvidia%u", gpu->minor)) {
            gpu->index = seen_gpus;
            visible[seen_gpus++] = gpu;
        }
        return;
    }
    gpu = found ? &gpus[found - 1] : NULL;
    if (!gpu || gpu->migs == MOST_PARTS || gpu->profiles == MOST_PARTS)
        return;
    nvmlGpuInstanceProfileInfo_t *profile = &gpu->profile[gpu->profiles];
    if (sscanf(line, "profile %u %u %u %llu %u %u %u %u %u", &profile->id, &profile->sliceCount, &profile->instanceCount,
               &profile->memorySizeMB, &profile->multiprocessorCount, &profile->copyEngineCount, &profile->decoderCount,
               &profile->jpegCount, &profile->ofaCount) == 9)
        gpu->profiles++;
    else
        read_part(gpu, line);
}

/* Calls `visit` for each line; returns whether the file could be read. */
static bool read_facts(void (*visit)(const char *line)) {
    char line[512];
    FILE *file = fopen(facts_path(), "r");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file))
        visit(line);
    fclose(file);
    return true;
}
