/* Real faults of files, made between a program and its C library.

   The environment chooses the fault: FAULT_CALLS (write, sync, truncate, open or rename, separated by commas),
   FAULT_PATH (the ending of the file's path), FAULT_ERRNO, FAULT_AFTER (how many bytes of writes, or calls of the other
   kinds, still work), FAULT_TIMES (how many calls fail before the fault ends; 0: it stays) and FAULT_MARK (a file that
   is made when the first call fails). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long long done, failed;

static long long number(const char *name) {
    const char *text = getenv(name);
    return text ? atoll(text) : 0;
}

static int ends_like(const char *path) {
    const char *wanted = getenv("FAULT_PATH");
    if (!wanted) return 0;
    size_t long_is = strlen(path), short_is = strlen(wanted);
    return long_is >= short_is && strcmp(path + long_is - short_is, wanted) == 0;
}

static int is_faulty(const char *call, const char *path) {
    const char *calls = getenv("FAULT_CALLS");
    return calls && strstr(calls, call) && ends_like(path);
}

static int is_faulty_file(const char *call, int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_faulty(call, path);
}

static int refuse(void) {
    const char *mark = getenv("FAULT_MARK");
    static int (*real)(const char *, int, ...);
    if (!real) real = dlsym(RTLD_NEXT, "open");
    if (mark) {
        int file = real(mark, O_CREAT | O_WRONLY, 0600);
        if (file >= 0) close(file);
    }
    errno = (int)number("FAULT_ERRNO");
    return -1;
}

/* Returns how much of the request still works. */
static long long allowed(long long asked) {
    pthread_mutex_lock(&lock);
    long long left = number("FAULT_AFTER") - done;
    long long times = number("FAULT_TIMES");
    int is_over = times > 0 && failed >= times;
    long long good = is_over || left >= asked ? asked : left > 0 ? left : 0;
    done += good;
    failed += good == 0;
    pthread_mutex_unlock(&lock);
    return good;
}

#define REAL(name, type) \
    static __typeof__(type) real; \
    if (!real) real = (type)dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write, ssize_t (*)(int, const void *, size_t));
    if (count > 0 && is_faulty_file("write", file)) {
        long long good = allowed((long long)count);
        if (good == 0) return refuse();
        count = (size_t)good;
    }
    return real(file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev, ssize_t (*)(int, const struct iovec *, int));
    if (count > 0 && is_faulty_file("write", file)) return write(file, parts[0].iov_base, parts[0].iov_len);
    return real(file, parts, count);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset) { \
        REAL(name, ssize_t (*)(int, const void *, size_t, offset_type)); \
        if (count > 0 && is_faulty_file("write", file)) { \
            long long good = allowed((long long)count); \
            if (good == 0) return refuse(); \
            count = (size_t)good; \
        } \
        return real(file, bytes, count, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define ON_FILE(name, call, args, types, ...) \
    int name types { \
        REAL(name, int (*) types); \
        if (is_faulty_file(call, file) && allowed(1) == 0) return refuse(); \
        return real args; \
    }
ON_FILE(fsync, "sync", (file), (int file))
ON_FILE(fdatasync, "sync", (file), (int file))
ON_FILE(ftruncate, "truncate", (file, length), (int file, off_t length))
ON_FILE(ftruncate64, "truncate", (file, length), (int file, off64_t length))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name, int (*)(const char *, int, ...)); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (flags & (O_WRONLY | O_RDWR) && is_faulty("open", path) && allowed(1) == 0) return refuse(); \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
    REAL(rename, int (*)(const char *, const char *));
    if (is_faulty("rename", to) && allowed(1) == 0) return refuse();
    return real(from, to);
}
