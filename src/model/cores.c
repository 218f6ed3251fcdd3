/* How many cores this process may use.
 *
 * Two limits count on Linux: the affinity mask (taskset, cpusets) and the cgroup's CPU
 * quota (containers). The quota is a time share, so it is rounded up to whole cores.
 * cgroup v2 keeps it in cpu.max of the process's own group or of any group above it
 * ("<quota> <period>" or "max <period>"); v1 in cpu.cfs_quota_us and cpu.cfs_period_us.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/model.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define PATH_SIZE 1024

static uint32_t affinity_cores(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    return (uint32_t)CPU_COUNT(&set);
  }
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (uint32_t)n : 1;
}

static bool read_first_line(const char *path, char *line, size_t size) {
  FILE *file = fopen(path, "re");
  if (file == NULL) {
    return false;
  }
  bool ok = fgets(line, (int)size, file) != NULL;
  fclose(file);
  return ok;
}

/* Quota over period, rounded up; 0 = no limit. */
static uint32_t cores_of(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) {
    return 0;
  }
  int64_t cores = quota / period + (quota % period != 0);
  return cores > UINT16_MAX ? 0 : (uint32_t)cores;
}

static uint32_t v2_limit_of(const char *group) {
  char path[PATH_SIZE + 64], line[128];
  snprintf(path, sizeof path, CGROUP_ROOT "%s/cpu.max", group);
  if (!read_first_line(path, line, sizeof line)) {
    return 0;
  }
  char *end = line;
  int64_t quota = strtoll(line, &end, 10);
  if (end == line) {
    return 0; /* "max" */
  }
  return cores_of(quota, strtoll(end, NULL, 10));
}

/* The tightest limit from the process's own group up to the root. */
static uint32_t v2_limit(void) {
  char group[PATH_SIZE] = "", line[PATH_SIZE];
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (file == NULL) {
    return 0;
  }
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "0::", 3) == 0) {
      line[strcspn(line, "\n")] = '\0';
      snprintf(group, sizeof group, "%s", line + 3);
    }
  }
  fclose(file);
  uint32_t tightest = 0;
  for (;;) {
    uint32_t limit = v2_limit_of(strcmp(group, "/") == 0 ? "" : group);
    if (limit != 0 && (tightest == 0 || limit < tightest)) {
      tightest = limit;
    }
    char *slash = strrchr(group, '/');
    if (slash == NULL) {
      return tightest;
    }
    *slash = '\0';
  }
}

static uint32_t v1_limit(void) {
  char line[64];
  if (!read_first_line(CGROUP_ROOT "/cpu/cpu.cfs_quota_us", line, sizeof line)) {
    return 0;
  }
  int64_t quota = strtoll(line, NULL, 10);
  if (!read_first_line(CGROUP_ROOT "/cpu/cpu.cfs_period_us", line, sizeof line)) {
    return 0;
  }
  return cores_of(quota, strtoll(line, NULL, 10));
}

uint32_t vonk_cores_granted(void) {
  uint32_t cores = affinity_cores();
  uint32_t quota = v2_limit();
  if (quota == 0) {
    quota = v1_limit();
  }
  return quota != 0 && quota < cores ? quota : cores;
}
