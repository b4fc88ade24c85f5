// batched QUEUE: accepts all with as little work as we know how to: what our own source
// would cost without an extension, a sandbox, or a daemon around it.
//
// One message configures the queue, recvmmsg takes up to 64 packets with their headers
// only, and one NFQNL_MSG_VERDICT_BATCH settles them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

enum {
  BATCH = 64,
  COPY_RANGE = 128,
  // The copied bytes and all attributes before them, which take less than 200.
  SLOT = 512,
  MAX_LENGTH = 8192,
  CONFIGURE = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG,
  PACKET = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET,
  VERDICT_BATCH = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH,
};

// A message under construction; `length` counts in the message's own header.
struct message {
  struct nlmsghdr header;
  struct nfgenmsg family;
  char attributes[128];
};

static void begin(struct message *message, int type, int flags, uint16_t queue) {
  memset(message, 0, sizeof *message);
  message->header.nlmsg_len = NLMSG_LENGTH(sizeof message->family);
  message->header.nlmsg_type = type;
  message->header.nlmsg_flags = NLM_F_REQUEST | flags;
  message->family.nfgen_family = AF_UNSPEC;
  message->family.version = NFNETLINK_V0;
  message->family.res_id = htons(queue);
}

static void *append(struct message *message, int type, const void *value, int length) {
  struct nlattr *attribute = (void *)((char *)message + message->header.nlmsg_len);
  attribute->nla_type = type;
  attribute->nla_len = NLA_HDRLEN + length;
  memcpy((char *)attribute + NLA_HDRLEN, value, length);
  message->header.nlmsg_len += NLA_ALIGN(attribute->nla_len);
  return (char *)attribute + NLA_HDRLEN;
}

static int configure(int fd, uint16_t queue) {
  struct message message;
  begin(&message, CONFIGURE, NLM_F_ACK, queue);
  struct nfqnl_msg_config_cmd bind_queue = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params params = {htonl(COPY_RANGE), NFQNL_COPY_PACKET};
  uint32_t length = htonl(MAX_LENGTH), flags = htonl(NFQA_CFG_F_GSO);
  append(&message, NFQA_CFG_CMD, &bind_queue, sizeof bind_queue);
  append(&message, NFQA_CFG_PARAMS, &params, sizeof params);
  append(&message, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
  append(&message, NFQA_CFG_FLAGS, &flags, sizeof flags);
  append(&message, NFQA_CFG_MASK, &flags, sizeof flags);
  return send(fd, &message, message.header.nlmsg_len, 0) < 0;
}

// The id of the packet that a message brings, in network byte order. Its place among
// the attributes is not promised.
static int packet_id(const char *bytes, unsigned length, uint32_t *id) {
  unsigned at = NLMSG_LENGTH(sizeof(struct nfgenmsg));
  while (at + NLA_HDRLEN <= length) {
    const struct nlattr *attribute = (const void *)(bytes + at);
    if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > length) return 0;
    if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR &&
        attribute->nla_len >= NLA_HDRLEN + sizeof(struct nfqnl_msg_packet_hdr)) {
      memcpy(id, bytes + at + NLA_HDRLEN, sizeof *id);
      return 1;
    }
    at += NLA_ALIGN(attribute->nla_len);
  }
  return 0;
}

static void serve(int fd, uint16_t queue) {
  static char slots[BATCH][SLOT] __attribute__((aligned(64)));
  struct iovec areas[BATCH];
  struct mmsghdr received[BATCH];
  memset(received, 0, sizeof received);
  for (int i = 0; i < BATCH; i++) {
    areas[i] = (struct iovec){slots[i], SLOT};
    received[i].msg_hdr.msg_iov = &areas[i];
    received[i].msg_hdr.msg_iovlen = 1;
  }
  struct message verdict;
  begin(&verdict, VERDICT_BATCH, 0, queue);
  struct nfqnl_msg_verdict_hdr accept = {.verdict = htonl(NF_ACCEPT)};
  struct nfqnl_msg_verdict_hdr *upto = append(&verdict, NFQA_VERDICT_HDR, &accept, sizeof accept);

  for (;;) {
    int count = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EINTR && errno != ENOBUFS) {
      perror("recvmmsg");
      exit(1);
    }
    int packets = 0;
    for (int i = 0; i < count; i++) {
      const struct nlmsghdr *header = (const void *)slots[i];
      uint32_t id;
      if (header->nlmsg_type == PACKET && packet_id(slots[i], received[i].msg_len, &id)) {
        upto->id = id;
        packets++;
      } else if (header->nlmsg_type == NLMSG_ERROR) {
        int error = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
        // A packet may be gone before its verdict comes.
        if (error && error != ENOENT) {
          fprintf(stderr, "the kernel refuses: %s\n", strerror(error));
          exit(1);
        }
      }
    }
    if (packets && send(fd, &verdict, verdict.header.nlmsg_len, 0) < 0) {
      perror("send");
      exit(1);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: batched QUEUE\n");
    return 2;
  }
  uint16_t queue = atoi(argv[1]);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER), size = 32 << 20, on = 1;
  struct sockaddr_nl own = {.nl_family = AF_NETLINK}, kernel = {.nl_family = AF_NETLINK};
  if (fd < 0 || bind(fd, (void *)&own, sizeof own) || connect(fd, (void *)&kernel, sizeof kernel)) {
    perror("netlink");
    return 1;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  if (configure(fd, queue)) {
    perror("configure");
    return 1;
  }
  serve(fd, queue);
}
