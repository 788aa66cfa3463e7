"""A published key of ML-KEM-768, with a ciphertext for it and the secret in that.

They are the first known answer of asymmetric/MLKEM/kat_MLKEM_768.rsp in cryptography-vectors.
"""

from typing import Final

SEED: Final = (
    "bbvEN1E23zsH98cOY54iPhd-f9U7Fhs_TVd5F5TxJiT2lkhASOwh-Wz1ClbQdZxEjzd5dS8Dg9N0SWkGlM96aA=="
)
PUBLIC: Final = (
    "AfYK8dyOY2CueLWdSlBC65FFomkEbWI2uDBPMFwtncsYn-WmLfibL1p7zju8dTweePcwqZhp-"
    "AmrqFa2drcHsmYB0dkJurMkUUlOt9CiFTpjULeXiamxFfg-oSA3JWVi8GodWro3jadwOdO97Kyo5qIqSQUKdjAKA"
    "mfNs4t6x3kDxQylO5koPKxrlfumUbEaTRppLkByllBgWHZp8lOxuxguZhRGForGAiGJRmACDpu19bcSSgMD4lQ-"
    "o-ps6XokgrJVyjRvsnqEezO5Pzqy0zBkxuZjLRoj8RROkHska0efSlySiSmh4kFQ9SQSWKW2d2amb2ozhGSVkHgo"
    "6-ROzFtzEkBxukeQc5EEEKFtXVaWtIsZR1KXl5V3KpHDSPUCs3qmUJg-"
    "u4m_PAgf8nNUQSnJE3puGDTI8ufOFMeHDFPAW5uU7NOOZkWRGwkSM2hj7BaIMfgRiBB1zzilneS1xziqbvA9d5sp"
    "VYjPtiSRzHs-CLSEczVPmsgGHBUqniBZl0mblwtpvOZv5CvKKSTM3wED0KTDkZPC3yURjXKxeqsmsMYNTNLDBspG"
    "lsGF3gUDX0oJz5cK7MjMk0Nvg7Gur0UsQZKaLqvBUZOPdMk7hYVG3yJk7uq2AuBKhcUi-PsaUhSv2NTK5XpHtvOB"
    "ojEmvZkXFzEor5F_HUg2kcRQ0RUc_poUktRz7YYuJ9qSUAyGogAZ6fl15PVK0xm6LFYwxAFCGde6I1RW_lMBQBk9"
    "ZiRF5qlB0eI4Vnuo1NlascdEfWkIIYdtAXJwz7Fp8teS8DyAByBpe0EKtBxm8rJFhRJWVesQqhCH_8t3UMuIetRG"
    "c3dQCmp9OoKXa0FaVEaVd7QTjZGbA_TJpNM5C9y28XF6X6SrJaNPS6UDm7IsfzwjTqRCc0eqclFGTmMZBNfKxHhP"
    "eLSdX0oQSjAYCad59kZhMfnGK7ZxR_TNSXOmqhwprmqGR7Ymi-CJ_gSM6ZDNY4dD0oXIiacH9YG2OvQXMfAkawVL"
    "xLR6qwG2hConCdAugVirkPSLadE2CCs0ywZzt0qj9UUI7QKfuPUEXuBjnhUO47PIX2ijEOwEQZgBALQqvyutENSp"
    "4MeyvFu8r3PLzcSdwslJERk2d5sXiXSgOSlHdFpHGJvD-opnnICvlkqfmxtWV3J0oqZp0tpnBKpJavQH-"
    "hqpZMw9wxQPX5Wafql0vbG4PkipnAo-"
    "LXWwZptcEniWJUBgkWYmbaGIhvwjevMM79Vp2-OZ5mUuRfBqXfyadYpJhwiP-"
    "OOKPPNrnZiPDgcLaNC4j3vMQTBggNiJeAx-I4iVzKpPNXciXMpMipMwzmE-"
    "cXeYyWcJJLJxrEArUVOLi1lnrEkNyrUwDmxU1qNjLzuXPkGG7hp-"
    "LoVkkYWyY3DDhyNcTfKKmTeknUB4v4g_TmNGyzJR2eE_G9oIeyha-"
    "qgOJiZBxVJ7ChhLi8hKYuV3MUZY4gKdhQBk96e4HyU-"
    "fMEkqcWwOdybF5qAwvau5uoIFRclNzMaV7UFuqdv9bTB8Np1S2GU9LOamxhzDTzauSXWke13qNuZJ-"
    "ojOsKhJ0T9wn5dIhuTaa2zJdg"
)
CIPHERTEXT: Final = (
    "FqYf-EeH_UpfGcpZs2V9s6EGpzKeLWJ0ei74UUkWMQm-__a8sz32YjC49nJc5xn1j3EZbolb78l1TZ8EJJRkjIim"
    "7UxM8T8vr59lHeedrgd3M8sjX53ORIl3_ULVSGt9_fbXvZFysUJHZV008QUk1GlHjZqWOfNNKs3m48BI1Sswi2Yk"
    "X-mijN55g7nRTAOzdxX-OXDNNXNHca3XqptYz7Ct-MYT3q-ysx9uXINk1DNOk6-OSUP6lHzGdmdEfP_QNiNa-"
    "up_YDyy6id7l9rfgup0b2snOW3QjIXP-TBKLlzgVx_eLpJnFryfjk1HS06P00sNwoN2IE6jBtMOmm3YglC3mCPnc"
    "xny7zp3cE9And6L622xvkqfJa4uFZOd7fGxGlqlH8_wQGi0bUL7uv0kmCZMyk-"
    "3iw8qsWLH71aYdaExSLmksLnaF4fKCnAz4-"
    "yhNHHby74V408rUGW5lf4iHCt6wVAzTRTmjtxeBJZj3jYvro014kwgLF-tIVPNBE6pYqOI8DDNxd7Bw0Ixg7Fzwy"
    "si9YAK5F6OicjuRhfOJOYPJ4v9HqD4-pJIa2-EkSfamb575MZh4romZp1qz2GaMwVoCWg-JKLynjO-f1-"
    "axmhpfllIjpuGhZVs2Ht8RxCdYDICwgFHLsgp6mSSLk0OrdSktaj7BuD0vyWlnO1UVXOI3NkbOHy2FIWX7fhKIll"
    "YAYUcpLnp4Jb9_JbyRErJ8SR6XmQHh_yiPj6yHsEFnEKmWANEHfASeQE8RI38Pu38M1Xu4fUQCGoRX4VMNtt5eoX"
    "t4ZpHOjPnmoD29_ZGfhsNhm_g5XqKvTeZNKampJL18yWU1D3i7C7qgUh5gbtjlL-"
    "m31SY10xtsiAqY0ijJfvJBrjoILsAZZou4SdAsUsuNvTF2rQRwM0JbF5juk1Iqp6Ssx9E3JfA_vZhvPTbiV8XRhP"
    "Z1e2eg2ZXdF7J3ux68nPOyH7w6vgF2hvIQBYIgQuKhvlSxjJtCfyNHX_YO06GLgUFjod8BWzFRl7DGSsDpMM8xrF"
    "lWNJILV-EUYy7xSaq5uiEAxfvs6GYLD0XGe8V0Q-"
    "LB3xcaGgL5tPZLoaqpus3jPBVnUkyVxR7VXMPSaBCMlrwZrT5dBuf_11Hly1ayvUra-pOnjVO-USLYvbSoTF2dak"
    "i4U4xV41sq1oJpxqycNhlFRuKtMYStf1dzJfkVBmhz7a4ua7GD2JgIJj5HwfCOBhmV5Qcehjk1-"
    "4iDwItX__SkYU7nAY-"
    "VhtxdveiNc5FvIbORxgIbflTbFpfCr8EwKhNgr32lVKt4xNUM8EKG6adaIlp5tnc5U07Oq46fyq5BOZX4_sFJB-s"
    "EQqgfmLMOZHX0NYym1q51p1zNsDRSFiMnwkhMluF31_TDbgKVqNyQ3IVNkGWGqfgQr8mRv9GAiwFnVeUw6S3-"
    "QxBDecaUjHdm4O70Oa9qxv55i8="
)
SHARED: Final = "tAjV0RVxPwqTBH276oMuQ0B4dobVmpotEGvWYroKoDU="
