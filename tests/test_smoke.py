import numpy as np


def test_second_call_is_a_hit_with_the_same_fresh_value(open_cache):
    cache = open_cache()
    calls = []

    @cache.cached(version="1")  # `calls` is in the closure, and would be in the key
    def tokens(audio, sample_rate):
        calls.append(sample_rate)
        return [1, 2], [3], [4, 5]

    audio = np.zeros((1, 160), dtype="float32")
    first = tokens(audio, 16000)
    first[0].append(99)
    assert tokens(audio, 16000) == ([1, 2], [3], [4, 5])
    assert calls == [16000]
