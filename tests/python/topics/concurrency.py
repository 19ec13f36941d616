"""Many concurrent senders: no gap, no repeat, no skipped entry."""

import threading

from gimclient.cases import case, on_both_wires
from gimclient.grpc_client import Channel
from gimclient.fixture import assert_equal

SENDERS, EACH = 8, 25


class Crowd:
    """Threads that send to one user, each over its own connection."""

    def __init__(self, senders, receiver):
        self.errors, self.answers = [], []
        self.threads = [threading.Thread(target=self._send, args=(s, receiver), daemon=True)
                        for s in senders]

    def _send(self, sender, receiver):
        channel = Channel(sender.server.logic.address)
        try:
            for n in range(EACH):
                draft = sender.draft(receiver, "%d from %d" % (n, sender.user_id))
                answer = sender.call("LogicExt.SendMessage", channel=channel, **draft)
                self.answers.append((sender.user_id, answer.seq))
        except Exception as error:  # handed to the case, which fails with it
            self.errors.append(error)
        finally:
            channel.close()

    def start(self):
        for thread in self.threads:
            thread.start()

    def busy(self):
        return any(thread.is_alive() for thread in self.threads)

    def finish(self):
        for thread in self.threads:
            thread.join(30)
        assert not self.busy(), "senders are stuck"
        assert_equal(self.errors, [])


@case
def two_hundred_concurrent_sends_leave_no_hole_for_a_reader_in_a_loop(fixture):
    bob, *senders = fixture.users(SENDERS + 1)
    reader = fixture.signed_in(bob, "ws")
    crowd, seen = Crowd(senders, bob), []
    crowd.start()
    while crowd.busy():
        seen += [e.seq for e in reader.sync_all(seen[-1] if seen else 0)]
    crowd.finish()
    seen += [e.seq for e in reader.sync_all(seen[-1] if seen else 0)]
    assert_equal(seen, list(range(1, SENDERS * EACH + 1)))
    for sender in senders:
        own = [seq for user_id, seq in crowd.answers if user_id == sender.user_id]
        assert_equal(own, list(range(1, EACH + 1)))


@on_both_wires
def live_pushes_of_concurrent_sends_arrive_in_order_and_complete(fixture):
    bob, *senders = fixture.users(SENDERS + 1)
    live = fixture.online(bob)
    crowd = Crowd(senders, bob)
    crowd.start()
    seen = []
    for _ in range(SENDERS * EACH):
        seen.append(live.expect_push(30).seq)
        live.ack(seen[-1])
    crowd.finish()
    assert_equal(seen, list(range(1, SENDERS * EACH + 1)))
