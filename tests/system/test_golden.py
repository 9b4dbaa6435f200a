"""Golden test: the bytes of small runs of every kind, pinned.

Only the public interface and the command line are used, so that no move or renaming inside the package touches this
file. `python tests/system/test_golden.py` prints the dictionary of all digests, for a change that is meant.

Integers and copied pixels are hashed as they are. Numbers that a mathematical library had a part in (entropies, scores)
are rounded to five digits before, and timings, prose and column headings are left out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from golden_runs import FOUND, GENERATED, SAME, SCORED, Stage, of_scores

EXPECTED: dict[str, str] = {
    "full": "0910eaaba686fa76d848cdf8e6d3c81e973d2cade1d473ea16613cf31722451a",
    "local": "d13906a7e2fb2894d79fee458e9cc389f5f4c5f2a994a79c085e8c835db384e0",
    "texture": "de92052cfcf72cc9a7d1c9a3702f8886b1f5cd0be3f1d9e5431655ec3fd7b533",
    "semantic": "8df9670638c2ec432bcf3c235eb1785b636e7af861e5bbdf685587485db2fdcf",
    "class": "47d63a9e1091a9af6d6fd49903b66e59d68a55f089728e81f7547c558fc90dc9",
    "conditional": "d6cd6cd1880985635937e754d31a2ae3f5a003805964eabd1882e1aeeb5853fd",
    "full of colours": "982c604d69752617054462875710cb52f8e32a874dd5adabf09b295c2b0de026",
    "local of colours": "b34cde11ec2f7baeab3261428af9e6b508b75f596991705cb2f8b2438ed91536",
    "texture of colours": "f129e11c723989c69a4d16e2c1b2f770503eac443334a06013821ff894990d8e",
    "semantic of colours": "ba23bd6e319eceeebf36c4aaf40dc8487f55b2f5db626158d2362d7fff15e852",
    "class of colours": "57beac2620b6c7f0abaa602e515c4d8c2a13ff6acafe178cfdb1b91b6b0d4e1c",
    "conditional of colours": "e08d003365e84fed14f23bc23d7bb6062120f48875370334602fc88fc122b99f",
    "sweeps": "19dc262c8555200f1cfdfbe6419abe78f0c7c02358acbf356be978b1ef396778",
    "sweeps without semantics": "cbd239465ad1b5369f7250da01bbaa03f01243f27b87f25e2b2680dc7d508538",
    "sweeps of texture": "cf49b66b0f00a85c4ce066b2ddcfd6379e62a75f38fd9cc497fc9e579e6c9f8e",
    "size": "2469af3dd5c5446c680de4a3e89ca6f3e6970e7c86aff89d1c7acaf02664e1a0",
    "several sizes": "f3ff3a63bbff80cd9aef4c526df74e61e368bbcc25c252b25edcf20db541e692",
    "several sizes, all candidates": "272919c619382d3fe34f7bb75faecaa684d51b886329aed64d62d0b273020d34",
    "threshold": "7dc5d4fbe2871a95626541035f3ea6487aa2631b00e99a257a8736185923045c",
    "threshold of semantic": "9521e21706e038d5ef36e23e42cf5a395a6fe16611d95e291e07a0528e870380",
    "tolerance": "70037bd3afcdc558ba1c64e07f9cedbe6570d3fb8c9d77d14c8b712dcb9f4444",
    "tolerance of colours": "0a7d5ab4426748ad10b82b7e8e50d1102fe4e9cccb645b15c81bb1b84dd033fa",
    "literal": "7e0a1c0cbe6e52f05dbbc193a90151585b11052e85edeec03732c6f40ad2fdf8",
    "all candidates": "f09d4734eb8daa56cd163d38f1bb374bf4c6ec1747e7ac29e9511ed0a775b3c0",
    "quota": "d0383e3326a7bf15ae57526d86f48a6e2cf0857d1c277a4f5fb65569e4e848f0",
    "defaults": "9ee1130f9b4c67b0bc05103c6ae411e49f294b475c1cff875be865eb2cd8cda7",
    "defaults of colours, conditional": "e48f3093ec3b7f58c5b0703a878df74e7ebbbf46c9e3023e2a6ddf7f23f62430",
    "expanded queries": "7f26aa7feece4d08e10d652ab3d03d51570966cf6a29e2c24014d51d25f13810",
    "share": "d121c2659d20aeed3e1162b4286f9219f417275812e664119b431ad78f428dd8",
    "share with sweeps and quota": "915c17e5cb850b9917efe1020450781d8468a7d9132aaee8ffd287c4bc6a2af3",
    "densest of three": "39a519e7a2af224dc6dd643fb720e36c8e7989d4d94f0f5958629202755a4150",
    "densest of two, conditional": "06dfa9a1458a65de16a53cc3557a2a62b4ced555fa079a1c3c9983025d52c31a",
    "seams": "bdb8cdd19b3303a9c599e6e707ff270ac72873d1525a1078b26465a793f407db",
    "seams of colours, densest of two": "e1a8b0b78f5780bf37458eae303304a9d240a73a270d598c27e1119567e57de0",
    "seams of several sizes": "9e9ed59d2b65b77f403091fa195fa7b691c9b69e41d9903a27fb4e907f528580",
    "the anchor alone": "e3e37f2f2d5b4fc2450206f7225c5e699f873455eb8d6d5f963d1cbd7d85e3aa",
    "the canvas alone": "59163c6aab50c5ea000271c094a3f267b6512fa999e1670394ea8ce6ac09bff2",
    "semantic distances": "85fecf1de60da5eca09973cbca4c7803e6e6f58132a33d66f4ccdb1b6f6dbdfa",
    "semantic distances, conditional": "70c81f119d2efcaf0e782a1fc411b3569e6ec609c921a3b969927b13344ec065",
    "three levels": "f4958a617d49ee43499efd67adda31bf12f408ab9454603a8a4f2c1e67054612",
    "two levels, conditional": "99b7fe560480e8577b4509a9e681f8333ed1512390564a5a4193663686b33263",
    "with the seed's image": "d2c6a2372e335a4af9c916257bd1e2ea15253267917f3e889a149202374136a1",
    "tokens": "287a053230a4ca2d10c062d2f2f8b5a9a9e52f92415ae7c68a577dc29d916424",
    "tokens, range 2": "bff8545a57dee81a6c0d9e2be8f7a19e8ecd2ae2517394ad9070f9e9b3a373c7",
    "tokens by histogram": "4873e0d699b9791f06e229c4b9978ba554fbb134a9196686078ad3c92a02b222",
    "tokens in raster order": "4d942eec852564975f5579e4a7ad83ef5939f762376b3454dd8dba4af4b80a94",
    "tokens in raster order by histogram": "de64b47f6bebb115bb1c6299d57d4af10761a4fccada8d79669f93bdc59cb921",
    "tokens with sweeps": "a876a1a47400c6a50bd1b1660ff012f56cb836af81310eb563239537972ad4e8",
    "tokens of colours": "76c00dc27a41f90a462e2d47f7f0add70ed432d212ba096327bfccca019bf976",
    "tokens of a class": "c48318f12bac0a3198dd10104d345651fb47851bd15ea0ac0491affdb30d0628",
    "tokens as a texture": "54034b2798c4939eba70c189f03bc081a412ba02e8358f7f4ecd4fabd79a2b61",
    "fill order": "29b97763a592fedb035b36b7406d7704fae91b898db6e27d7d3f7a979dd64600",
    "candidate pool": "2f2f16ac244e3afd5aef45be2d961fd59cc55b832f955b9f463bc9aef4185b27",
    "keys": "a016a52f801389c00105199043be8e77b0299d1be5d3c88a54407b7c70928d2c",
    "corpora": "587788b5fc5bc158589ff02c42602947d4c68d000aef86a001d12dcccb69ffa7",
    "token store": "4d548a22dc529b5226ce361050c3dee3b56692ff4e7fa6a5c4e91bb702ac3977",
    "run folder": "5d72eb0ed0a4ed0b2198a9063c338f7f97ddc4e9726ea7c54b3016e76cba1583",
    "entropy": "3f045d35f88d52398c89f43fb0487b1cfd39775566deb1d27c2b2c4501c91551",
    "part-whole": "8c3fa7d49a158cd22469f9de0bcf1e3f28e00d88bb319b41073dcd8ea682a4c3",
    "explain": "6b6fd5a710216733195bc07e91151147784ffbd697949dc76e245e7be24ea77b",
    "verify": "c0028babff6cbcfa9612419eee8911bd0e62a61fe0cb7f46e086cd94b7bc4070",
    "evaluate": "f4746964f591833a021c90e41daf263341fea020df076baa0091846da5eccf59",
    "ablate": "c8982db4507442266b4d464a7f02e4c9e014b75c5c1b506e57231a24e5f65fdf",
    "sweep": "5ea2ac186814bafb6c1c5325a7d92d0d5d1571282c99608fe6811c55cfa2e79c",
    "gamma study": "141337f3b778c73c7fe9c23f3d8ce49ac2f16bf97dad5a2e7cf3071a44a58e29",
    "report": "deb588824e6a7de0963cbf50497082f9095b9971f2c356307ddc8d3c5cd9e94b",
    "command line": "13ebccf26b60956296e6b070847fef73647ac99162f10bc646374eb3492f9bbd",
    "command line, its files": "cbfe9a32103eed68e3b4dc30fa22a44dc9218d88c43577253bbf452a2eff1d5b",
}
# Means of the score machines' arrays, plain and weighted: single precision is not the same on every machine.
EXPECTED_SCORES: dict[str, list[float]] = {
    "ideal": [-0.784957, -11.6076, 0.246634, 3.69569, 0.329109, 4.90881, 5.33333, 77.0444],
    "local": [-0.615577, -9.00925, 0.15699, 2.32522, 1.8563, 27.8959, 5.2987, 76.4326],
    "equivariant": [-0.135714, -2.45034, 0.0709067, 1.05586, 4.72426, 71.0496, 5.28176, 76.2456],
    "equivariant-borders": [-0.54629, -7.99861, 0.0597221, 0.893282, 4.60245, 69.3587, 5.33398, 76.8535],
    "equivariant-borders of colours": [-0.589041, -8.56962, 0.148587, 2.23066, 2.72582, 40.4839, 6.06174, 87.4993],
    "denoise": [-0.456404, 0.673403, -4.38631, 6.44592],
    "els": [-0.770611, -10.9071, 0.0816515, 1.32911, 3.37244, 48.5409, 15.2635, 122.366],
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NPGEN_HOME", str(folder / "home"))
        yield Stage(folder)


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize("path", ["fastest", "portable"])
def test_generate(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    if path == "portable":
        monkeypatch.setenv("NPGEN_SIMD", path)
    assert GENERATED[name](stage, threads=2 if path == "fastest" else 1) == EXPECTED[name]


@pytest.mark.parametrize("name", FOUND)
def test_found(stage: Stage, name: str) -> None:
    assert FOUND[name](stage) == EXPECTED[name]


@pytest.mark.parametrize("name", SAME)
def test_other_ways_to_the_same_run(stage: Stage, name: str) -> None:
    assert SAME[name](stage) == EXPECTED["command line"]


@pytest.mark.parametrize("name", SCORED)
def test_scores(name: str) -> None:
    np.testing.assert_allclose(of_scores(name), EXPECTED_SCORES[name], rtol=1e-4, atol=1e-7)


def test_every_pinned_kind_is_run() -> None:
    assert [*EXPECTED] == [*GENERATED, *FOUND]
    assert [*EXPECTED_SCORES] == [*SCORED]
    assert len(set(EXPECTED.values())) == len(EXPECTED)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ["NPGEN_HOME"] = f"{place}/home"
        here = Stage(Path(place))
        for kinds in (GENERATED, FOUND):
            for name, run in kinds.items():
                print(f'    "{name}": "{run(here)}",', flush=True)
        for name in SCORED:
            print(f'    "{name}": {[float(f"{value:.6g}") for value in of_scores(name)]},', flush=True)
