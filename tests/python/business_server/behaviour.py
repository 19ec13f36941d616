"""Switches for slow and invalid answers, for tests of gimlet's reaction."""

INVALID_ANSWERS = ("garbage", "unrequested", "huge")


class Behaviour:
    """The current behaviour; the service reads it at every call."""

    def __init__(self, slow_ms=0, invalid=None, refuse_with=10000):
        # Delay of every answer.
        self.slow_ms = slow_ms
        # None: valid answers. garbage: undecodable bytes. unrequested: other users, under wrong
        # ids. huge: a megabyte of extra and of nickname.
        self.invalid = invalid
        # The grpc-status for a wrong token.
        self.refuse_with = refuse_with

    def change(self, words):
        """Applies a command: "slow 3000", "invalid garbage", "refuse 16" or "normal"."""
        if words == ["normal"]:
            self.__init__()
        elif words[:1] == ["slow"] and len(words) == 2:
            self.slow_ms = int(words[1])
        elif words[:1] == ["invalid"] and words[1:] and words[1] in INVALID_ANSWERS:
            self.invalid = words[1]
        elif words[:1] == ["refuse"] and len(words) == 2:
            self.refuse_with = int(words[1])
        else:
            raise ValueError("use normal, slow MS, invalid %s, refuse CODE, rename ID NAME, "
                             "revoke ID or peers" % "|".join(INVALID_ANSWERS))
