"""Both ends of the tests of extensions that change packets."""

import socket
import struct
import sys
import threading

PORT = 7000
FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def pair(address, kind):
    receiver = socket.socket(kind, socket.SOCK_DGRAM)
    receiver.bind((address, PORT))
    receiver.settimeout(1)
    return receiver, socket.socket(kind, socket.SOCK_DGRAM)


def hops(count):
    told = []
    for address, kind in FAMILIES.items():
        receiver, sender = pair(address, kind)
        if kind == socket.AF_INET:
            # Not in all versions of this module: ip(7), <linux/in.h>.
            receiver.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_RECVTTL", 12), 1)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(count))
        else:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, int(count))
        sender.sendto(b"x", (address, PORT))
        try:
            _, notes, _, _ = receiver.recvmsg(10, 100)
            told.append(f"{address}: {struct.unpack('i', notes[0][2][:4])[0]}")
        except TimeoutError:
            told.append(f"{address}: lost")
    print(" ".join(told))


def udp(text):
    for address, kind in FAMILIES.items():
        receiver, sender = pair(address, kind)
        sender.sendto(text.encode(), (address, PORT))
        print(f"{address}: {receiver.recv(65536).decode()}")


def tcp(text):
    server = socket.create_server(("127.0.0.1", PORT))
    client = socket.create_connection(("127.0.0.1", PORT), 5)
    connection, _ = server.accept()
    connection.settimeout(5)
    client.sendall(text.encode())
    client.close()
    got = b""
    while piece := connection.recv(65536):
        got += piece
    print(got.decode())


def name_of(message):
    labels = []
    at = 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 5


def serve(server):
    """Answers every question with 10.0.0.9."""
    while True:
        query, client = server.recvfrom(512)
        _, end = name_of(query)
        header = query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0)
        answer = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton("10.0.0.9"))
        server.sendto(header + query[12:end] + answer, client)


def dns(*names):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    for name in names:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(1)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + b"\0\1\0\1"
        client.sendto(query, ("127.0.0.1", 53))
        try:
            reply = client.recv(512)
        except TimeoutError:
            print(f"{name}: silence")
            continue
        code = reply[3] & 15
        answers = struct.unpack("!H", reply[6:8])[0]
        if code:
            print(f"{name}: code {code}, question {name_of(reply)[0]}, {answers} answers")
        else:
            print(f"{name}: {socket.inet_ntoa(reply[-4:])}")


{"hops": hops, "udp": udp, "tcp": tcp, "dns": dns}[sys.argv[1]](*sys.argv[2:])
