"""Both ends of an attack: `ppm.py victim FILE COUNT` writes the packets that come in
to a capture of raw IP, `ppm.py attack COUNT` sends them, with forged sources and
identifications, no more than 64 ahead of what the victim has."""

import random
import socket
import struct
import sys

ATTACKER, VICTIM = "10.0.0.1", "10.0.3.2"
WINDOW = 64
PATIENCE = 20


def victim(file, count):
    # A cooked packet socket gives packets from the IP header on, as they came in.
    arrivals = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    arrivals.settimeout(PATIENCE)
    # What the kernel does with them is nobody's business, but it answers nothing.
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind((VICTIM, 9999))
    answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # The header of a pcap file, with link type 101: raw IP.
    file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
    print("ready", flush=True)
    came = 0
    while came < count:
        packet, (_, _, kind, _, _) = arrivals.recvfrom(65535)
        if kind != socket.PACKET_HOST or packet[9] != socket.IPPROTO_UDP:
            continue
        file.write(struct.pack("<IIII", came, 0, len(packet), len(packet)) + packet)
        came += 1
        if came % (WINDOW // 2) == 0:
            answers.sendto(came.to_bytes(4, "big"), (ATTACKER, 9998))
    file.flush()
    print(f"captured {came}", flush=True)


def attack(count):
    chance = random.Random(2000)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answers.bind((ATTACKER, 9998))
    answers.settimeout(PATIENCE)
    udp = struct.pack(">HHHH", 1000, 9999, 8, 0)
    known = 0
    for sent in range(count):
        while sent - known >= WINDOW:
            known = int.from_bytes(answers.recv(4), "big")
        source = struct.pack(">I", 0x0A000003 + chance.randrange(250))
        identification = chance.randrange(1, 65536)
        # The kernel fills in the checksum, and an identification of 0.
        header = struct.pack(">BBHHHBBH", 0x45, 0, 28, identification, 0, 64, 17, 0)
        raw.sendto(header + source + socket.inet_aton(VICTIM) + udp, (VICTIM, 0))
    print(f"sent {count}", flush=True)


if sys.argv[1] == "victim":
    with open(sys.argv[2], "wb") as file:
        victim(file, int(sys.argv[3]))
else:
    attack(int(sys.argv[2]))
