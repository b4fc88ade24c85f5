"""Both ends of the tests of edits. Exits with an error if anything is not as it
should be."""

import socket
import struct
import sys
import threading

PORT = 7000
FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def family(address):
    return FAMILIES[address]


def changed(payload):
    """As the extension `edits` does: by the length, modulo 3."""
    kind = len(payload) % 3
    if kind == 0:
        return payload.replace(b"a", b"b")
    if kind == 1:
        return payload + payload[:4] + b"longer"
    return payload[: len(payload) // 2]


def payload(length):
    return (b"abcdefg\x00\xff" * (length // 9 + 1))[:length]


def udp():
    count = 0
    for address, kind in FAMILIES.items():
        receiver = socket.socket(kind, socket.SOCK_DGRAM)
        receiver.bind((address, PORT))
        receiver.settimeout(10)
        sender = socket.socket(kind, socket.SOCK_DGRAM)
        for length in range(0, 1401):
            sender.sendto(payload(length), (address, PORT))
            got = receiver.recv(65536)
            if got != changed(payload(length)):
                sys.exit(f"{address}, {length} bytes: {got!r}")
            count += 1
    print(f"{count} datagrams, all as they should be")


def transfer(address, data):
    """What arrives when data is sent over TCP."""
    server = socket.socket(family(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, PORT))
    server.listen(1)

    def send():
        with socket.create_connection((address, PORT), 10) as client:
            client.sendall(data)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    connection, _ = server.accept()
    connection.settimeout(20)
    got = bytearray()
    while True:
        piece = connection.recv(1 << 20)
        if not piece:
            break
        got += piece
    sender.join(10)
    return bytes(got)


def tcp(address):
    data = (b"abracadabra, banana and anagram. " * 400_000)[: 10 << 20]
    got = transfer(address, data)
    if got != data.replace(b"a", b"b"):
        sys.exit(f"{len(got)} bytes arrived, other than they should be")
    print(f"{len(got)} bytes, every a a b")


def tcp_unchanged(address):
    data = b"banana! " * 8192
    got = transfer(address, data)
    if got != data:
        sys.exit(f"{len(got)} bytes arrived, changed")
    print(f"{len(got)} bytes, unchanged")


def checksum(data):
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(body, wrong_by):
    """A UDP datagram over IPv4 whose checksum is wrong by so much."""
    source = destination = socket.inet_aton("127.0.0.1")
    header = struct.pack("!HHHH", 6999, PORT, 8 + len(body), 0)
    pseudo = source + destination + struct.pack("!BBH", 0, 17, 8 + len(body))
    right = checksum(pseudo + header + body)
    wrong = (right + wrong_by) % 0xFFFF
    header = struct.pack("!HHHH", 6999, PORT, 8 + len(body), wrong)
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28 + len(body), 1, 0, 64, 17, 0, source, destination
    )
    return ip + header + body


def corrupt():
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", PORT))
    receiver.settimeout(1)
    # Sees every packet before the kernel looks at the UDP checksum.
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    raw.settimeout(5)
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def seen():
        packet = raw.recv(65536)
        return packet[20:]

    body = b"abc" * 3
    sender.sendto(datagram(body, 0), ("127.0.0.1", 0))
    if receiver.recv(65536) != changed(body):
        sys.exit("the right one did not arrive as it should")
    seen()
    sender.sendto(datagram(body, 0x1234), ("127.0.0.1", 0))
    try:
        receiver.recv(65536)
        sys.exit("the wrong one arrived")
    except TimeoutError:
        pass
    # Whoever looks at raw packets gets the wrong one too, as it was changed.
    segment = seen()
    if segment[8:] != changed(body):
        sys.exit(f"the wrong one was not changed: {segment!r}")
    address = socket.inet_aton("127.0.0.1")
    pseudo = address + address + struct.pack("!BBH", 0, 17, len(segment))
    right = checksum(pseudo + segment[:6] + b"\x00\x00" + segment[8:])
    found = struct.unpack("!H", segment[6:8])[0]
    by = (found - right) % 0xFFFF
    print(f"right: arrived changed; wrong: did not arrive, still wrong by {by:#x}")


def icmp():
    told = []
    for address, kind in FAMILIES.items():
        is_v4 = kind == socket.AF_INET
        protocol = socket.IPPROTO_ICMP if is_v4 else socket.IPPROTO_ICMPV6
        request, reply = (8, 0) if is_v4 else (128, 129)
        sock = socket.socket(kind, socket.SOCK_RAW, protocol)
        sock.settimeout(5)
        message = struct.pack("!BBHHH", request, 0, 0, 77, 1) + b"aaa"
        if is_v4:
            # For ICMPv6 the kernel does it.
            message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        sock.sendto(message, (address, 0))
        answer = b""
        # The request comes by too, and only the kernel's answer counts.
        while answer[:1] != bytes([reply]):
            answer = sock.recv(65536)[20 if is_v4 else 0 :]
        told.append(f"{address}: {answer[8:].decode()}")
    print(" ".join(told))


def send(text):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", PORT))
    receiver.settimeout(10)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(text.encode(), ("127.0.0.1", PORT))
    receiver.recv(65536)


{
    "udp": udp,
    "tcp": tcp,
    "tcp-unchanged": tcp_unchanged,
    "corrupt": corrupt,
    "icmp": icmp,
    "send": send,
}[sys.argv[1]](*sys.argv[2:])
