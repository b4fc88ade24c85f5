"""The loop that accepts all in Python, with NetfilterQueue. Usage: netfilterqueue_accept.py QUEUE"""

import sys

from netfilterqueue import COPY_PACKET, NetfilterQueue

queue = NetfilterQueue()
queue.bind(int(sys.argv[1]), lambda packet: packet.accept(), 8192, COPY_PACKET, 65535, 32 << 20)
queue.run()
