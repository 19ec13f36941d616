"""A small client of gimlet in Python. Start a server, then run:

    pip install grpcio grpcio-tools
    python3 -m grpc_tools.protoc -I proto/proto --python_out=. --grpc_python_out=. \\
        pb/common.ext.proto pb/connect.ext.proto pb/logic.ext.proto pb/business.ext.proto
    PYTHONPATH=. python3 docs/clients/client.py 13800000001

It prints incoming messages and sends the lines you type: "2 hello" sends hello to user 2. The device's
place in the inbox is kept in 13800000001.json, so the next start gets all missed messages once.
docs/client.md explains the order of calls.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import sys
import time
import uuid

import grpc
from pb.business import ext_pb2 as business, ext_pb2_grpc as business_calls
from pb.connect import ext_pb2 as pb
from pb.logic import ext_pb2 as logic, ext_pb2_grpc as logic_calls

HEARTBEAT_SECONDS = 30  # the server closes a connection that is silent for 11 minutes, proxies sooner
UNAUTHORIZED, TOO_FAST, NOT_STORED, NOT_KNOWN = 10000, 8, 14, 4
RECONNECT_SECONDS = 0.2, 15  # shortest and longest delay


class Refused(Exception):
    def __init__(self, code, text, retry_after_ms=0):
        super().__init__("%s (%d)" % (text, code))
        self.code = code
        self.retry_after = retry_after_ms / 1000


class State:
    """The device's account and its place in the inbox."""

    def __init__(self, path):
        self.path = path
        self.user_id = self.device_id = self.epoch = self.seq = 0
        self.token = ""
        if path.exists():
            self.__dict__.update(json.loads(path.read_text(encoding="utf-8")))

    def save(self):
        values = {key: value for key, value in self.__dict__.items() if key != "path"}
        new = self.path.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(values, file)
        new.rename(self.path)

    def sign_up(self, address, phone, code):
        """Registers this device once and signs in on it."""
        with grpc.insecure_channel(address) as channel:
            device = logic.RegisterDeviceReq(
                type=5, brand="python", model="example", system_version=sys.platform, sdk_version="1")
            self.device_id = logic_calls.LogicExtStub(channel).RegisterDevice(device).device_id
            answer = business_calls.BusinessExtStub(channel).SignIn(business.SignInReq(
                phone_number=phone, code=code, device_id=self.device_id))
        self.user_id, self.token = answer.user_id, answer.token
        self.save()


class Session:
    """One connection."""

    def __init__(self, state, reader, writer):
        self.state, self.reader, self.writer = state, reader, writer
        self.requests, self.next, self.own = {}, 0, set()
        self.syncing = False

    async def run(self, ready):
        """Runs the connection until it ends."""
        # The reader is a separate task, because fetching a page waits for answers that it reads.
        tasks = [asyncio.ensure_future(self.read()), asyncio.ensure_future(self.live(ready))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self.writer.close()
            for answer in self.requests.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the connection was closed"))
            await asyncio.gather(*tasks, return_exceptions=True)

    async def live(self, ready):
        state = self.state
        sign_in = pb.SignInInput(
            device_id=state.device_id, user_id=state.user_id, token=state.token, protocol=1)
        answer = pb.SignInOutput.FromString(await self.ask(pb.PT_SIGN_IN, sign_in))
        if answer.epoch != state.epoch:
            # Another history: seqs of the old one are invalid in it.
            state.epoch, state.seq = answer.epoch, 0
        await self.sync()
        state.save()
        ready(self)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            beat = pb.HeartbeatOutput.FromString(await self.ask(pb.PT_HEARTBEAT))
            if beat.head > state.seq:  # a push was lost or is still in flight
                await self.sync()

    async def read(self):
        while True:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
            output = pb.Output.FromString(await self.reader.readexactly(length))
            if output.type == pb.PT_MESSAGE:
                self.push(pb.MessageSend.FromString(output.data).message)
            elif output.type == pb.PT_CLOSE:
                raise ConnectionError(pb.CloseOutput.FromString(output.data).message)
            elif (answer := self.requests.pop(output.request_id, None)) and not answer.done():
                if output.code:
                    answer.set_exception(Refused(output.code, output.message, output.retry_after_ms))
                else:
                    answer.set_result(output.data)

    def write(self, kind, request_id, data=None):
        body = pb.Input(type=kind, request_id=request_id,
                        data=data.SerializeToString() if data else b"").SerializeToString()
        self.writer.write(len(body).to_bytes(2, "big") + body)

    def ask(self, kind, data=None):
        self.next += 1
        self.requests[self.next] = answer = asyncio.get_running_loop().create_future()
        self.write(kind, self.next, data)
        return answer

    async def send(self, user_id, text, client_message_id):
        """Sends a text to a user and returns its seq once it is stored."""
        request = logic.SendMessageReq(
            receiver_type=pb.RT_USER, receiver_id=user_id, message_type=pb.MT_TEXT,
            message_content=pb.Text(text=text).SerializeToString(),
            send_time=int(time.time() * 1000),
            is_persist=True,  # without it nothing is stored
            client_message_id=client_message_id)
        answer = logic.SendMessageResp.FromString(await self.ask(pb.PT_SEND, request))
        # The sender's own copy has a seq too, but is not pushed to the sending device.
        self.own.add(answer.seq)
        self.skip_own()
        self.state.save()
        return answer.seq

    async def sync(self):
        if self.syncing:
            return
        self.syncing = True
        try:
            more = True
            while more:
                before = self.state.seq
                page = pb.SyncOutput.FromString(await self.ask(pb.PT_SYNC, pb.SyncInput(seq=before)))
                for message in page.messages:
                    self.take(message)
                self.ack()
                more = page.has_more and self.state.seq > before
        finally:
            self.syncing = False

    def push(self, message):
        if message.receiver_type == pb.RT_ROOM or message.seq == 0:
            show(message)  # rooms and non-persistent messages have no seq in the inbox
        elif message.seq > self.state.seq + 1:
            asyncio.ensure_future(self.sync())
        else:
            self.take(message)
            self.ack()

    def take(self, message):
        """Takes a stored message unless it was already taken."""
        if message.seq > self.state.seq:
            self.state.seq = message.seq
            show(message)
            self.skip_own()
            self.state.save()

    def skip_own(self):
        while self.state.seq + 1 in self.own:
            self.state.seq += 1
            self.own.discard(self.state.seq)

    def ack(self):
        """Acknowledges all messages up to the current place. An ack has no answer."""
        self.write(pb.PT_MESSAGE, 0, pb.MessageACK(
            device_ack=self.state.seq, receive_time=int(time.time() * 1000)))


def show(message):
    text = "(something else)"
    if message.message_type == pb.MT_TEXT:
        text = pb.Text.FromString(message.message_content).text
    print("#%d from %d: %s" % (message.seq, message.sender.sender_id, text), flush=True)


async def send_lines(lines, sessions):
    """Sends the typed lines in order, retrying over new connections if necessary."""
    while (line := await lines.get()) is not None:
        to, _, text = line.strip().partition(" ")
        if not to.isdigit() or not text:
            print('type a user id and a text: "2 hello"', flush=True)
            continue
        client_message_id = str(uuid.uuid4())  # the same id for all attempts, so that the message is stored once
        while True:
            session = await sessions()
            pause = 0.5
            try:
                seq = await session.send(int(to), text, client_message_id)
                print("stored as #%d: %s" % (seq, text), flush=True)
                break
            except Refused as error:
                if error.code not in (TOO_FAST, NOT_STORED, NOT_KNOWN):
                    print("not sent: %s" % error, flush=True)
                    break
                pause = max(pause, error.retry_after)
            except ConnectionError:
                pass
            await asyncio.sleep(pause * (1 + random.random()))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("phone")
    parser.add_argument("--tcp", default="127.0.0.1:8080")
    parser.add_argument("--grpc", default="127.0.0.1:50100")
    parser.add_argument("--code", default="000000")
    args = parser.parse_args()
    state = State(pathlib.Path(args.phone + ".json"))
    if not state.token:
        state.sign_up(args.grpc, args.phone, args.code)

    loop, lines = asyncio.get_running_loop(), asyncio.Queue()
    loop.run_in_executor(None, read_input, loop, lines)
    current, there = [None], asyncio.Event()
    delay = RECONNECT_SECONDS[0]

    async def sessions():
        await there.wait()
        return current[0]

    def ready(session):
        nonlocal delay
        delay = RECONNECT_SECONDS[0]
        current[0] = session
        there.set()
        print("you are user %d" % state.user_id, flush=True)

    async def connections():
        nonlocal delay
        host, port = args.tcp.rsplit(":", 1)
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
                await Session(state, reader, writer).run(ready)
            except Refused as error:
                if error.code == UNAUTHORIZED:  # this token will not work later either
                    sys.exit("sign in again: %s" % error)
            except (OSError, EOFError) as error:
                print("not connected: %s" % error, file=sys.stderr, flush=True)
            there.clear()
            # A random part of it, so that many clients do not come back at the same time.
            await asyncio.sleep(random.random() * delay)
            delay = min(delay * 2, RECONNECT_SECONDS[1])

    serving = asyncio.ensure_future(connections())
    sending = asyncio.ensure_future(send_lines(lines, sessions))
    await asyncio.wait([serving, sending], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    state.save()
    os._exit(0)  # the thread that reads the terminal cannot be interrupted


def read_input(loop, lines):
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, None)


if __name__ == "__main__":
    asyncio.run(main())
