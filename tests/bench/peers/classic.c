// classic QUEUE: the loop of libnetfilter_queue's own documentation, which accepts all:
// recv, a callback, nfq_set_verdict. The peer that everything is compared with.
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static int accept_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *unused) {
  (void)message;
  (void)unused;
  struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);
  return nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL);
}

int main(int argc, char **argv) {
  static char buffer[70000] __attribute__((aligned));
  if (argc != 2) {
    fprintf(stderr, "usage: classic QUEUE\n");
    return 2;
  }
  struct nfq_handle *handle = nfq_open();
  struct nfq_q_handle *queue = handle ? nfq_create_queue(handle, atoi(argv[1]), accept_packet, NULL) : NULL;
  if (!queue) {
    perror("nfq_create_queue");
    return 1;
  }
  // The whole packet, as its examples have it, and room for as many as ours.
  nfq_set_mode(queue, NFQNL_COPY_PACKET, 0xffff);
  nfq_set_queue_maxlen(queue, 8192);
  int fd = nfq_fd(handle), size = 32 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  for (;;) {
    int length = recv(fd, buffer, sizeof buffer, 0);
    if (length >= 0)
      nfq_handle_packet(handle, buffer, length);
    else if (errno != ENOBUFS && errno != EINTR) {
      perror("recv");
      return 1;
    }
  }
}
