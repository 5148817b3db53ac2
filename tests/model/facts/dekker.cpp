// Store-buffering litmus across two processes: P: x=1; r1=y (no fence).  Q: y=1; membarrier(GLOBAL_EXPEDITED); r2=x.  both 0 = broken.
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
using namespace std;
struct S {
  char junk[64 * 64];
  alignas(128) atomic<int> x;
  alignas(128) atomic<int> y;
  alignas(128) atomic<long> round;
  alignas(128) atomic<long> pdone;
  alignas(128) int r1;
  alignas(128) atomic<int> go;
};
int main(int c, char** v) {
  bool reg = c > 1 && atoi(v[1]);
  int mode = c > 2 ? atoi(v[2]) : 1;
  S* s = (S*)mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const long N = 300000;
  pid_t p = fork();
  if (!p) {
    cpu_set_t m;
    CPU_ZERO(&m);
    CPU_SET(1, &m);
    sched_setaffinity(0, sizeof m, &m);
    if (reg) syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
    for (long i = 1; i <= N; i++) {
      while (s->round.load() != i) {}
      for (volatile int d = 0; d < (i & 15); d++) {}
      for (int k = 0; k < 12; k++) s->junk[k * 256]++;
      s->x.store(1, memory_order_relaxed);
      atomic_signal_fence(memory_order_seq_cst);
      s->r1 = s->y.load(memory_order_relaxed);
      s->pdone.store(i, memory_order_release);
    }
    _exit(0);
  }
  cpu_set_t m;
  CPU_ZERO(&m);
  CPU_SET(0, &m);
  sched_setaffinity(0, sizeof m, &m);
  long broken = 0;
  for (long i = 1; i <= N; i++) {
    s->x = 0;
    s->y = 0;
    for (int k = 0; k < 12; k++) s->junk[k * 256] = i;
    s->round.store(i);
    for (volatile int d = 0; d < ((i * 7) & 31); d++) {}
    s->y.store(1, memory_order_relaxed);
    if (mode == 1) syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
    else if (mode == 2) atomic_thread_fence(memory_order_seq_cst);
    else atomic_signal_fence(memory_order_seq_cst);
    int r2 = s->x.load(memory_order_relaxed);
    while (s->pdone.load() != i) {}
    if (!r2 && !s->r1) broken++;
  }
  waitpid(p, 0, 0);
  printf("pinner %s, recycler %s: both missed each other in %ld of %ld\n", reg ? "registered" : "NOT registered",
         mode == 1   ? "membarrier"
         : mode == 2 ? "fence only"
                     : "nothing",
         broken, N);
}
