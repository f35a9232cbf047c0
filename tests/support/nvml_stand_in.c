/* A stand-in for NVIDIA's management library: what it answers stands in the folder NVML_STAND_IN, read at every call.

   gpus          a line per GPU: uuid, megabytes in all, megabytes used by others, code that its process list answers;
                 all are called `Card`, or `Old card` where the uuid says so
   error         a code that every call answers with, where the file exists
   claims/PID    index of a GPU and megabytes that the process holds there, -1 where they are not told; a process that
                 runs no more holds nothing
*/

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15
};
#define MIB (1024ULL * 1024ULL)
#define PATH_BYTES 4096
#define CLAIMS 256

typedef struct {
    char uuid[96];
    unsigned long long total_mb, used_mb;
    int list_error;
} Gpu;

typedef struct {
    unsigned long long total, free, used;
} Memory;

typedef struct {
    unsigned int pid;
    unsigned long long used;
    unsigned int gpu_instance, compute_instance;
} Process;

static int users; /* of nvmlInit without nvmlShutdown */

static FILE *open_file(const char *name) {
    char path[PATH_BYTES];
    const char *folder = getenv("NVML_STAND_IN");
    if (folder == NULL) return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "r");
}

static int failure(void) {
    int code = SUCCESS;
    FILE *file = open_file("error");
    if (file != NULL) {
        if (fscanf(file, "%d", &code) != 1) code = GPU_IS_LOST;
        fclose(file);
    }
    return code;
}

static int state(void) { return users > 0 ? failure() : UNINITIALIZED; }

/* The GPU with this number, or with this uuid where one is given; its number, -1 where there is none. */
static int find(int number, const char *uuid, Gpu *gpu) {
    FILE *file = open_file("gpus");
    int found = -1, at = 0;
    if (file == NULL) return -1;
    while (found < 0 && fscanf(file, "%95s %llu %llu %d", gpu->uuid, &gpu->total_mb, &gpu->used_mb, &gpu->list_error) == 4) {
        if (uuid != NULL ? strcmp(uuid, gpu->uuid) == 0 : at == number) found = at;
        at++;
    }
    fclose(file);
    return found;
}

static int number_of(void *device) { return (int)(long)device - 1; }

/* Living processes that hold memory of the GPU; memory that is not told is ~0. */
static int claims(int number, Process *processes) {
    char path[PATH_BYTES];
    int count = 0;
    const char *folder = getenv("NVML_STAND_IN");
    DIR *entries;
    struct dirent *entry;
    snprintf(path, sizeof path, "%s/claims", folder);
    entries = opendir(path);
    while (entries != NULL && count < CLAIMS && (entry = readdir(entries)) != NULL) {
        long long index, mb;
        FILE *file;
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name)) continue;
        snprintf(path, sizeof path, "/proc/%s", entry->d_name);
        if (access(path, F_OK) != 0) continue;
        snprintf(path, sizeof path, "claims/%s", entry->d_name);
        file = open_file(path);
        if (file == NULL) continue;
        if (fscanf(file, "%lld %lld", &index, &mb) == 2 && index == number) {
            memset(&processes[count], 0, sizeof(Process));
            processes[count].pid = (unsigned int)atoi(entry->d_name);
            processes[count].used = mb < 0 ? ~0ULL : (unsigned long long)mb * MIB;
            count++;
        }
        fclose(file);
    }
    if (entries != NULL) closedir(entries);
    return count;
}

int nvmlInitWithFlags(unsigned int flags) {
    int code = failure();
    FILE *file = open_file("gpus");
    (void)flags;
    if (file == NULL) return DRIVER_NOT_LOADED;
    fclose(file);
    users += code == SUCCESS;
    return code;
}

int nvmlShutdown(void) {
    if (users == 0) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Another Error";
    }
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    Gpu gpu;
    for (*count = 0; find((int)*count, NULL, &gpu) >= 0;) ++*count;
    return state();
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    Gpu gpu;
    int code = state(), number = find((int)index, NULL, &gpu);
    *device = (void *)(long)(number + 1);
    return code != SUCCESS ? code : number < 0 ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    Gpu gpu;
    int code = state(), number = find(-1, uuid, &gpu);
    *device = (void *)(long)(number + 1);
    return code != SUCCESS ? code : number < 0 ? NOT_FOUND : SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    Gpu gpu;
    int code = state();
    if (code != SUCCESS) return code;
    if (find(number_of(device), NULL, &gpu) < 0) return GPU_IS_LOST;
    if (strstr(gpu.uuid, "nameless") != NULL) return NOT_SUPPORTED;
    snprintf(uuid, length, "%s", gpu.uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    Gpu gpu;
    int code = state();
    if (code != SUCCESS) return code;
    if (find(number_of(device), NULL, &gpu) < 0) return GPU_IS_LOST;
    snprintf(name, length, "%s", strstr(gpu.uuid, "old") != NULL ? "Old card" : "Card");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    Gpu gpu;
    Process held[CLAIMS];
    int code = state(), count;
    if (code != SUCCESS) return code;
    if (find(number_of(device), NULL, &gpu) < 0) return GPU_IS_LOST;
    memory->total = gpu.total_mb * MIB;
    memory->used = gpu.used_mb * MIB;
    count = claims(number_of(device), held);
    while (count-- > 0)
        if (held[count].used != ~0ULL) memory->used += held[count].used;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *room, Process *processes) {
    Gpu gpu;
    Process held[CLAIMS];
    int code = state(), count, fits;
    if (code != SUCCESS) return code;
    if (find(number_of(device), NULL, &gpu) < 0) return GPU_IS_LOST;
    if (gpu.list_error != SUCCESS) return gpu.list_error;
    count = claims(number_of(device), held);
    fits = (unsigned int)count <= *room;
    *room = (unsigned int)count;
    if (!fits) return INSUFFICIENT_SIZE;
    if (count > 0) memcpy(processes, held, (size_t)count * sizeof(Process));
    return SUCCESS;
}
