"""The header against those of the vendor's own samples."""

from sidecar.providers.xg.credentials import authorization


def test_header_of_the_android_sample() -> None:
    # S1, "Android标签推送请求消息".
    sample = "Basic YTViNWYwNzFmZjc3YTplYTUxMmViNzcwNGQ1ZmI1YTZhOTM3Y2FmYTcwZTc3MQ=="
    assert authorization("a5b5f071ff77a", "ea512eb7704d5fb5a6a937cafa70e771") == sample


def test_header_of_the_ios_sample() -> None:
    # S1, "iOS单设备推送请求消息".
    sample = "Basic ODhjNzE1Mzc1MDQ0ZDowNGM4NmNhZmI0ZTMxZDU4M2UzYjg0M2VhMDc4YTU5ZQ=="
    assert authorization("88c715375044d", "04c86cafb4e31d583e3b843ea078a59e") == sample


def test_header_of_other_letters_is_utf_8_on_one_line() -> None:
    assert authorization("ä", "k" * 100) == "Basic w6Q6" + "a2tr" * 33 + "aw=="
