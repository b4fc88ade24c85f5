// flood SECONDS SIZE FLOWS WINDOW: UDP packets over the loopback to a counting receiver
// on port 9999. Keeps at most WINDOW of them unanswered, so that a queue in between is
// busy and not overrun. Prints: SENT RECEIVED PACKETS_PER_SECOND
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SENT_AT_ONCE = 32, RECEIVED_AT_ONCE = 64, MAX_FLOWS = 64, MAX_SIZE = 2048 };
static atomic_int stop;
static atomic_long received;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void *receive(void *socket) {
  static char bytes[RECEIVED_AT_ONCE][MAX_SIZE];
  struct iovec areas[RECEIVED_AT_ONCE];
  struct mmsghdr messages[RECEIVED_AT_ONCE];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < RECEIVED_AT_ONCE; i++) {
    areas[i] = (struct iovec){bytes[i], MAX_SIZE};
    messages[i].msg_hdr.msg_iov = &areas[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  while (!stop) {
    int count = recvmmsg(*(int *)socket, messages, RECEIVED_AT_ONCE, MSG_WAITFORONE, 0);
    if (count > 0) received += count;
  }
  return 0;
}

static int receiver(struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), big = 64 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
  struct timeval patience = {0, 50000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (bind(fd, (void *)to, sizeof *to)) {
    perror("bind");
    exit(1);
  }
  return fd;
}

static int sender(struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), big = 64 << 20;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
  if (connect(fd, (void *)to, sizeof *to)) {
    perror("connect");
    exit(1);
  }
  return fd;
}

// Waits until no more than `left` of the sent ones are on their way, but not longer than
// `patience`.
static void wait_for(long sent, long left, double patience) {
  for (double asked = now(); sent - received > left && now() - asked < patience;) usleep(50);
}

// Waits until all have arrived, or none has for half a second.
static void wait_for_all(long sent) {
  for (long before = -1; received < sent && received != before;) {
    before = received;
    wait_for(sent, 0, 0.5);
  }
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: flood SECONDS SIZE FLOWS WINDOW\n");
    return 2;
  }
  double seconds = atof(argv[1]);
  int size = atoi(argv[2]), flows = atoi(argv[3]);
  long window = atol(argv[4]);
  if (size < 1 || size > MAX_SIZE || flows < 1 || flows > MAX_FLOWS || window < 1) {
    fprintf(stderr, "flood: SIZE is 1 to %d, FLOWS 1 to %d, WINDOW at least 1\n", MAX_SIZE, MAX_FLOWS);
    return 2;
  }

  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9999)};
  int in = receiver(&to), out[MAX_FLOWS];
  pthread_t thread;
  pthread_create(&thread, 0, receive, &in);
  for (int i = 0; i < flows; i++) out[i] = sender(&to);

  char payload[MAX_SIZE];
  memset(payload, 'x', sizeof payload);
  struct iovec area = {payload, size};
  struct mmsghdr messages[SENT_AT_ONCE];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < SENT_AT_ONCE; i++) {
    messages[i].msg_hdr.msg_iov = &area;
    messages[i].msg_hdr.msg_iovlen = 1;
  }

  long sent = 0, lost = 0;
  double start = now();
  for (int k = 0; now() - start < seconds; k++) {
    wait_for(sent - lost, window, 0.2);
    if (sent - received - lost > window) lost = sent - received; // they will not come any more
    int count = sendmmsg(out[k % flows], messages, SENT_AT_ONCE, 0);
    if (count > 0) sent += count;
  }
  double took = now() - start;
  long in_time = received;
  wait_for_all(sent);
  stop = 1;
  pthread_join(thread, 0);
  printf("%ld %ld %.0f\n", sent, (long)received, in_time / took);
  return 0;
}
