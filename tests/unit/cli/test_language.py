"""The command in Chinese: by the locale, and from a list whose English is the code's own."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module

import pytest

import crawler.cli
from crawler.cli.chinese import PHRASES
from crawler.cli.language import language_of, speaking, tr
from crawler.cli.table import Column
from crawler.db.pruning import Pruned
from tests.support.house import ROOT

#: What has its place in the Chinese, and what English changes with a number, which has none.
MARK = re.compile(r"\{[avkwn]?\}")
AGREEING = re.compile(r"\{(?:s|are|were)\}")
#: What click and the system say, what is put together from parts, and nothing at all.
ELSEWHERE = re.compile(
    r"(no such option|invalid value|missing|got unexpected|option|usage|requires an argument|is not one of"
    r"|month must be in 1|12$|day is out of range for month"
    r"|is not a valid|is not in the range|no such file or directory|permission denied|is a directory"
    r"|did you mean one of|are not set in|was withdrawn"
    r"|holds a secret and is$|chmod 600 the file|readable and writable|.*any more$|\W*$)"
)


@pytest.fixture
def chinese() -> Iterator[None]:
    with speaking("zh"):
        yield


@pytest.mark.parametrize(
    ("environ", "encoding", "language"),
    [
        ({}, "utf-8", "en"),
        ({"LANG": "zh_CN.UTF-8"}, "utf-8", "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "utf-8", "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, None, "zh"),
        ({"LANG": "zh"}, "gb18030", "zh"),
        ({"LANG": "zh_CN"}, "ascii", "en"),
        ({"LANG": "zha_CN"}, "utf-8", "en"),
    ],
)
def test_language_of_the_locale(environ: dict[str, str], encoding: str | None, language: str) -> None:
    """The locale's first variable that is set decides, where the terminal has the characters."""
    assert language_of(environ, encoding) == language


def test_every_phrase_is_said_somewhere() -> None:
    """The list holds no English that the code does not say, so a changed sentence cannot leave its Chinese behind."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (ROOT / "crawler").rglob("*.py")
        if path.name not in ("chinese.py", "chinese_care.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    said = "\n".join(texts).casefold().replace("_", " ")
    pieces = {
        piece.strip().casefold()
        for one in PHRASES
        for piece in re.split(rf"{MARK.pattern}|{AGREEING.pattern}|['`:;,.()]", one)
    }

    assert [one for one in pieces if one.replace("_", " ") not in said and not ELSEWHERE.match(one)] == []


def columns_in(value: object) -> Iterator[Column]:
    """Yield the columns that a module's *value* holds."""
    if isinstance(value, Column):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inside in value.values() if isinstance(value, Mapping) else value:
            yield from columns_in(inside)


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(crawler.cli.__path__)])
def test_every_heading_is_chinese(module: str) -> None:
    """Every heading of a table has its words in Chinese, but for what is called the same."""
    values = vars(import_module(f"crawler.cli.{module}")).values()
    titles = {column.title for value in values for column in columns_in(value)} - {"", "GPU"}
    with speaking("zh"):
        assert [title for title in sorted(titles) if not re.search(r"[一-鿿]", tr(title))] == []


def test_every_phrase_uses_its_marks() -> None:
    """Each mark of the English has its place in the Chinese."""
    for english, told in PHRASES.items():
        marks = [f"<{number}>" for number in range(len(MARK.findall(english)))]
        shown = told.format(*marks)
        assert [mark for mark in marks if mark not in shown] in ([], ["<2>"] if "of {n} zones" in english else []), (
            english
        )


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("english", [one for one in PHRASES if AGREEING.search(one)])
@pytest.mark.usefixtures("chinese")
def test_numbers_agree(english: str, number: int) -> None:
    """What English says otherwise of one thing is the same sentence in Chinese."""
    words = {"s": ("s", ""), "are": ("are", "is"), "were": ("were", "was")}
    marks = ["x" if mark != "{n}" else str(number) for mark in MARK.findall(english)]
    said = AGREEING.sub(lambda mark: words[mark[0].strip("{}")][number == 1], english).replace("{n}", str(number))

    assert tr(MARK.sub("x", said)) == re.sub("） (?=[^ -~])", "）", PHRASES[english].format(*marks))


@pytest.mark.parametrize(
    ("english", "told"),
    [
        ("ZONE", "可用区"),
        ("unknown (failed)", "未知（失败）"),
        ("24 ok, 1 held", "正常 24、待确认 1"),
        ("gpu: no → yes; os_name: - → CentOS", "支持 GPU：否 → 是；操作系统：- → CentOS"),
        (
            "Error: The history knows no zone 'present'; the nearest: ok.",
            "错误：历史记录中没有可用区“present”；相近的有：ok。",
        ),
        (
            "held: 2 of 3 images are not listed any more; waiting for confirmation",
            "待确认：3 个镜像中有 2 个不再列出；等待后续确认",
        ),
        (
            "held: 1 of 1 image is not listed any more; waiting for confirmation",
            "待确认：1 个镜像中有 1 个不再列出；等待后续确认",
        ),
        ("Forgotten: 1 interval, 2 runs", "已清理：1 个区间、2 次巡检"),
        ("3 to 4 in 24, unknown in 1", "24 个可用区各 3 至 4 个、1 个可用区未知"),
        (
            "prod: 64 requests after discovery, 4 s at 16 per second; 60 of them of the matrix",
            "prod：获取地域列表后需 64 个请求，按每秒 16 个计约 4 秒；其中 60 个用于按机型和版本查询",
        ),
        (
            "DescribeImage failed in hk-01 of project org-a and 1 more project: down",
            "DescribeImage 失败（项目 org-a 的 hk-01，另有 1 个项目）：down",
        ),
        (
            "note: prod/org-a/hk/hk-01/uk8s-image/default: unknown field BootMode of an image, kept in extra"
            " (and 27 more targets)",
            "提示：prod/org-a/hk/hk-01/uk8s-image/default：镜像有未知字段 BootMode，保存在 extra 中（另有 27 个目标）",
        ),
        (
            "prod: GetUK8SVersions: what is offered in hk is not known, so what was asked there before is asked on: x",
            "prod: GetUK8SVersions：hk 现有的版本或机型未知，仍查询此前的组合：x",
        ),
        (
            "prod: cross-check: hk without Zone (uk8s-image) does not list what its zones do: uimage-a (hk-01, hk-02)",
            "prod：交叉核对：不指定可用区查询 hk（uk8s-image）时，未列出可用区中的镜像：uimage-a (hk-01, hk-02)",
        ),
        (
            "  prod/org-a/hk/hk-01/instance-type/default and 20 more: failed: down [e3a1]",
            "  prod/org-a/hk/hk-01/instance-type/default 等（另有 20 个）：失败：down [e3a1]",
        ),
        (
            "Error: Invalid value for '--keep': '5' is no duration; write a number and s, m, h, d, w, mo or y, such as"
            " 90m, 26h, 7d, 6mo",
            "错误：'--keep' 的值无效：“5”不是时长；请写数字加 s、m、h、d、w、mo 或 y，例如 90m, 26h, 7d, 6mo",
        ),
        (
            "main.tf, line 3: uimage-a is not fixed: the effect of that is unknown; --effect unknown allows it.",
            "main.tf，第 3 行：uimage-a 未修改：修改的影响：未知；加 --effect unknown 才会修改。",
        ),
        ("Error: '2026-13-01' is no time: month must be in 1..12", "错误：'2026-13-01' 不是时间：月份须为 1 至 12"),
        (
            'accounts.zones: "hk-2" matches no zone of the account; the nearest: hk-02',
            'accounts.zones：账号中没有与 "hk-2" 相符的可用区；相近的有：hk-02',
        ),
        ("all but g-v100-*, default", "除 g-v100-*, default 外全部"),
        ("infra/main.tf, line 3", "infra/main.tf 第 3 行"),
        ("times of 2026 in Asia/Shanghai", "时间均在 2026 年（Asia/Shanghai）"),
        (
            "at 10 requests per 1 s a run takes at least 3 s, and longer with the matrix: `crawler run --dry-run`",
            "按每 1 秒 10 个请求，一次巡检至少需要 3 秒，查询各机型和版本另需时间：`crawler run --dry-run`",
        ),
        ("what nobody translated", "what nobody translated"),
        ("Somebody did so yesterday, as in spring", "Somebody did so yesterday, as in spring"),
        (
            "Error: Line 1 of standard input has no name: write `ZONE NAME`, as in `hk-02 Ubuntu 20.04`.",
            "错误：标准输入第 1 行缺少名称：请写 `ZONE NAME`，如 `hk-02 Ubuntu 20.04`。",
        ),
        (
            "Error: Standard input is not UTF-8 text (at byte 6); save it as UTF-8.",
            "错误：标准输入不是 UTF-8 文本（第 6 字节）；请存为 UTF-8。",
        ),
        ("the server logs in, security starttls", "服务器登录成功，加密方式 starttls"),
        (
            "DescribeUK8SImage is refused in hk-02 of project org-a and 2 more projects: no permission",
            "DescribeUK8SImage 被拒绝（项目 org-a 的 hk-02，另有 2 个项目）：no permission",
        ),
        (
            "this machine's clock is 4,200 days ahead of the cloud's, which says it is 2015-05-29",
            "本机时钟比云平台快 4,200 天，云平台的日期为 2015-05-29",
        ),
        (
            "1 re-issued, 1 withdrawn in hk-02; kr-seoul-01 not observed",
            "hk-02 更换 ID 1 个、下架 1 个；kr-seoul-01 未观测到",
        ),
        (
            "  Began: a/b/hk/hk-02/uk8s-image/default and 3 more in hk, sg failed: no answer",
            "  新出现：a/b/hk/hk-02/uk8s-image/default 等（另有 3 个，位于 hk, sg）失败：no answer",
        ),
        ("a: 1 problem\n  b: is missing", "a：1 个问题\n  b：缺失"),
        (
            "crawler run 1 of 30 Nov 05:20 (Asia/Shanghai), complete: 24 ok.",
            "crawler 第 1 次巡检（11 月 30 日 05:20，Asia/Shanghai）完整：正常 24。",
        ),
        (
            "  Began: a/b/hk/hk-02/uk8s-image/default and 3 more in hk, sg and 9 more regions failed: x [e3a1]",
            "  新出现：a/b/hk/hk-02/uk8s-image/default 等（另有 3 个，位于 hk, sg 及另外 9 个地域）失败：x [e3a1]",
        ),
        ("3 unknown.", "未知 3。"),
        ("There are no schema changes.", "没有数据结构变更。"),
        ("There are no withdrawn changes in that time.", "没有该时段内的下架变更。"),
        (
            "main.tf, line 1: uimage-a is not fixed: the effect of that is unknown; --effect unknown allows it.",
            "main.tf，第 1 行：uimage-a 未修改：修改的影响：未知；加 --effect unknown 才会修改。",
        ),
        ("os_name: stated → gone", "操作系统：存在 → 已消失"),
        ("  smtp.from: 'x' must be a mail address", "  smtp.from：“x”应为邮件地址"),
        (
            "  kinds[0]: 'uk8s' is no known kind; known: uk8s-image, uhost-image",
            "  kinds[0]：“uk8s”不是已知的资源类型；可用的有：uk8s-image, uhost-image",
        ),
        (
            "report sre: not delivered to a@b.c: mail:25 cannot be reached, or hung up: refused",
            "报告 sre：未能送达（a@b.c）：无法连接 mail:25，或连接中断：refused",
        ),
        ("failed: down; no further attempt: its region does not answer", "失败：down；不再重试：其所在地域无响应"),
        (
            "Warning: hk-02 was not observed well since 2026-11-29 23:19:37 (Asia/Shanghai): down",
            "警告：hk-02 自 2026-11-29 23:19:37（Asia/Shanghai）起没有有效观测：down",
        ),
        (
            "Error: No such option '--zonne'. (Did you mean one of: '--name', '--zone'?)",
            "错误：没有选项 '--zonne'。是否指以下之一：'--name', '--zone'？",
        ),
        ("service unavailable (RetCode 153: too many requests)", "service unavailable（RetCode 153：请求过于频繁）"),
        ("Budget a: 2.5 of 10 requests per second.", "额度 a：每秒 2.5/10 个请求。"),
        (
            "prod: 5 requests after discovery, 10 s at 0.5 per second",
            "prod：获取地域列表后需 5 个请求，按每秒 0.5 个计约 10 秒",
        ),
        ("at 1 request per 1 s a run takes at least 1 s", "按每 1 秒 1 个请求，一次巡检至少需要 1 秒"),
        ("at 0.5 requests per 1 s a run takes at least 2 s", "按每 1 秒 0.5 个请求，一次巡检至少需要 2 秒"),
        ("was never listed anywhere; not known in hk-01, hk-02", "所有可用区都从未列出；hk-01, hk-02 状态未知"),
        ("hk-02 is not asked with variant g-v100", "hk-02 没有以 variant g-v100 查询"),
        (
            "Warning: /x is not in what is printed: mount a volume for it, and name its path there.",
            "警告：输出中不包括 /x：请为它挂载卷，并在配置中写卷内的路径。",
        ),
    ],
)
@pytest.mark.usefixtures("chinese")
def test_told(english: str, told: str) -> None:
    """Words, lists and sentences are told in Chinese, ids and names as they are; what is not known stays."""
    assert tr(english) == told


@pytest.mark.usefixtures("chinese")
def test_what_pruning_forgot() -> None:
    """Every count of `db prune` is told in Chinese."""
    names = [entry.name.removesuffix("s") for entry in fields(Pruned)]

    assert [name for name in names if name in tr(f"1 {name}")] == []
