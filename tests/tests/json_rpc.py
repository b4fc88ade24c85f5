"""Commands ipqext-host with nothing but Python's own library. Usage: json_rpc.py SOCKET"""

import json
import re
import socket
import subprocess
import sys

control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
lines = control.makefile("rw")


def ask(method, **params):
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    print(json.dumps(request), file=lines, flush=True)
    response = json.loads(lines.readline())
    assert response["id"] == method and "error" not in response, response
    return response["result"]


def pings():
    ping = ["ping", "-n", "-c", "3", "-i", "0.01", "-W", "0.5", "127.0.0.1"]
    printed = subprocess.run(ping, capture_output=True, text=True).stdout
    return re.search(r"(\d+) received", printed)[1] + " of 3"


subprocess.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 1".split(), check=True)
states = [ask("add", name="icmp-drop")["state"]]
states.append("group %d" % ask("group", name="icmp-drop", group=3)["group"])
before = pings()
states.append(ask("start", name="icmp-drop")["state"])
started = pings()
states.append(ask("stop", name="icmp-drop")["state"])
after = pings()
print(", ".join(states) + ": " + ", ".join([before, started, after]))
