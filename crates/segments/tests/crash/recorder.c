/* Preloaded into a process: writes down what it writes to the files of one directory and when it
 * syncs them, so that a test can say what would be left after a power cut at any moment.
 *
 * Each entry of the journal is a line "op fd-serial argument argument path", after "write" the bytes.
 * Reading goes on as always. One lock holds entries and deeds in one order. With FAIL_AFTER=n and
 * FAIL_WITH=errno, everything that needs room on the disk fails after n such deeds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FDS];
static const char *root;
static size_t root_length;
static int journal = -1;
static long fail_after = -1;
static int fail_with;

static int (*real_open64)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate64)(int, off64_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_close)(int);

__attribute__((constructor)) static void begin(void) {
    real_open64 = dlsym(RTLD_NEXT, "open64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate64 = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_close = dlsym(RTLD_NEXT, "close");
    root = getenv("RECORD_ROOT");
    root_length = root ? strlen(root) : 0;
    const char *to = getenv("RECORD_TO");
    if (to) journal = real_open64(to, O_WRONLY | O_CREAT | O_APPEND, 0600);
    const char *after = getenv("FAIL_AFTER");
    if (after) {
        fail_after = atol(after);
        fail_with = atoi(getenv("FAIL_WITH"));
    }
}

static int ours(const char *path) {
    return root && path && strncmp(path, root, root_length) == 0 && !strstr(path, "-shm");
}

/* Whether a deed that needs room fails now. */
static int fails(void) {
    if (fail_after < 0) return 0;
    if (fail_after == 0) {
        errno = fail_with;
        return 1;
    }
    fail_after--;
    return 0;
}

static void say(const char *op, long long one, long long two, const char *path, const char *more,
                const void *bytes, size_t length) {
    if (journal < 0) return;
    char head[1200];
    int n = snprintf(head, sizeof head, "%s %lld %lld %s%s%s\n", op, one, two, path,
                     more ? "\t" : "", more ? more : "");
    if (real_write(journal, head, (size_t)n) != n) abort();
    if (length && real_write(journal, bytes, length) != (ssize_t)length) abort();
}

/* Whether a line of the program's own output says that something was acknowledged. */
static void hear(int fd, const void *bytes, size_t length) {
    static const char word[] = "acknowledged ";
    const char *at = fd == 1 ? memmem(bytes, length, word, sizeof word - 1) : 0;
    if (at) say("said", atoll(at + sizeof word - 1), 0, "-", 0, 0, 0);
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd >= 0 && fd < FDS && ours(path)) {
        free(paths[fd]);
        paths[fd] = strdup(path);
        if ((flags & O_CREAT) && !existed) say("create", 0, 0, path, 0, 0, 0);
        if ((flags & O_TRUNC) && existed) say("truncate", 0, 0, path, 0, 0, 0);
    }
    return fd;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, int) : 0;
    va_end(rest);
    pthread_mutex_lock(&lock);
    struct stat64 it;
    int existed = stat64(path, &it) == 0;
    int fd = -1;
    if (!(ours(path) && (flags & O_CREAT) && !existed && fails()))
        fd = opened(real_open64(path, flags, mode), path, flags, existed);
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, int) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    if (fd < 0 || fd >= FDS || !paths[fd]) return real_pwrite64(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (!fails()) {
        done = real_pwrite64(fd, bytes, length, at);
        if (done > 0) say("write", at, done, paths[fd], 0, bytes, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite64(fd, bytes, length, at);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd == 1) {
        pthread_mutex_lock(&lock);
        hear(fd, bytes, length);
        pthread_mutex_unlock(&lock);
        return real_write(fd, bytes, length);
    }
    if (fd < 0 || fd >= FDS || !paths[fd]) return real_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (!fails()) {
        off64_t at = lseek64(fd, 0, SEEK_CUR);
        done = real_write(fd, bytes, length);
        if (done > 0) say("write", at, done, paths[fd], 0, bytes, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static int synced(int fd, int (*real)(int)) {
    if (fd < 0 || fd >= FDS || !paths[fd]) return real(fd);
    pthread_mutex_lock(&lock);
    say("sync", 0, 0, paths[fd], 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return 0; /* the test pulls the plug in its mind: the real disk need not turn */
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int ftruncate64(int fd, off64_t length) {
    if (fd < 0 || fd >= FDS || !paths[fd]) return real_ftruncate64(fd, length);
    pthread_mutex_lock(&lock);
    int done = real_ftruncate64(fd, length);
    if (done == 0) say("truncate", length, 0, paths[fd], 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int rename(const char *from, const char *to) {
    if (!ours(from)) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    int done = real_rename(from, to);
    if (done == 0) say("rename", 0, 0, from, to, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    if (!ours(path)) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    if (done == 0) say("unlink", 0, 0, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int close(int fd) {
    if (fd >= 0 && fd < FDS && paths[fd]) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}
