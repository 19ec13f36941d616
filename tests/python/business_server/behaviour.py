"""How the server behaves: well, slowly, or badly. For tests of what gimlet does then."""

NONSENSE = ("garbage", "strangers", "huge")


class Behaviour:
    """Plain values; the service reads them at every call."""

    def __init__(self, slow_ms=0, nonsense=None, refuse_with=10000):
        # Every answer is held back this long.
        self.slow_ms = slow_ms
        # None: well. garbage: bytes that are no protobuf. strangers: users nobody asked for, under
        # wrong ids. huge: a megabyte of extra and of nickname.
        self.nonsense = nonsense
        # The grpc-status that a wrong token gets.
        self.refuse_with = refuse_with

    def change(self, words):
        """Takes a line such as "slow 3000", "nonsense garbage", "refuse 16" or "well"."""
        if words == ["well"]:
            self.__init__()
        elif words[:1] == ["slow"] and len(words) == 2:
            self.slow_ms = int(words[1])
        elif words[:1] == ["nonsense"] and words[1:] and words[1] in NONSENSE:
            self.nonsense = words[1]
        elif words[:1] == ["refuse"] and len(words) == 2:
            self.refuse_with = int(words[1])
        else:
            raise ValueError("say: well, slow MS, nonsense %s, refuse CODE" % "|".join(NONSENSE))
