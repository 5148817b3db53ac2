#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
static int test(int fd, long byte, int type) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = byte;
  l.l_len = 1;
  if (fcntl(fd, F_OFD_GETLK, &l)) {
    perror("getlk");
    return -1;
  }
  return l.l_type != F_UNLCK;
}
static int lock(int fd, long byte) {
  struct flock l {};
  l.l_type = F_WRLCK;
  l.l_whence = SEEK_SET;
  l.l_start = byte;
  l.l_len = 1;
  return fcntl(fd, F_OFD_SETLK, &l);
}
int main() {
  int fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
  printf("O_TMPFILE %d\n", fd);
  posix_fallocate(fd, 0, 1 << 20);
  char p[64];
  snprintf(p, 64, "/proc/self/fd/%d", fd);
  unlink("/dev/shm/r6-facts");
  printf("linkat %d\n", linkat(AT_FDCWD, p, AT_FDCWD, "/dev/shm/r6-facts", AT_SYMLINK_FOLLOW));
  int a = open("/dev/shm/r6-facts", O_RDWR), b = open("/dev/shm/r6-facts", O_RDWR);
  printf("OFD lock on the segment beyond its end: %d\n", lock(a, (1L << 40) + 7));
  printf("seen by another description: %d, by its own: %d\n", test(b, (1L << 40) + 7, F_WRLCK), test(a, (1L << 40) + 7, F_WRLCK));
  int pipefd[2];
  pipe(pipefd);
  pid_t c = fork();
  if (!c) {
    int f = open("/dev/shm/r6-facts", O_RDWR);
    lock(f, (1L << 40) + 9);
    pid_t g = fork();
    if (!g) {
      pause();
      _exit(0);
    }
    write(pipefd[1], &g, sizeof g);
    pause();
  }
  pid_t g;
  read(pipefd[0], &g, sizeof g);
  kill(c, 9);
  waitpid(c, 0, 0);
  usleep(20000);
  printf("owner killed, forked child alive: lock still held %d\n", test(b, (1L << 40) + 9, F_WRLCK));
  kill(g, 9);
  usleep(50000);
  printf("after the child too: %d\n", test(b, (1L << 40) + 9, F_WRLCK));
  // a mutex whose kind is garbage
  for (int kind = 0; kind < 512; kind += 1) {
    c = fork();
    if (!c) {
      alarm(1);
      pthread_mutex_t m;
      memset(&m, 0, sizeof m);
      m.__data.__kind = kind;
      struct timespec ts {};
      int r = pthread_mutex_timedlock(&m, &ts);
      _exit(r == 0 ? 0 : 1);
    }
    int st;
    waitpid(c, &st, 0);
    if (WIFSIGNALED(st)) printf("kind %d: signal %d\n", kind, WTERMSIG(st));
  }
  unlink("/dev/shm/r6-facts");
}
