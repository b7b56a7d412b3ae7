"""The sentences of the pages, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from crawler.domain.rows import Reason
from crawler.domain.subscriptions import Language
from crawler.domain.text import MESSAGE_LIMIT, plain
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Dates
from crawler.notifications.rendering.lines import LineLimits, Writer


class _Phrase(NamedTuple):
    en: str
    zh: str
    #: English about one thing, where `{total}`, or else `{n}`, is 1.
    one: str = ""


def _counted(one: str, many: str, zh: str) -> _Phrase:
    return _Phrase(many, zh, one)


PHRASES: Mapping[str, _Phrase] = {
    # the frame
    "site": _Phrase("Node images", "节点镜像"),
    "skip": _Phrase("Skip to the content", "跳到正文"),
    "nav": _Phrase("Pages", "页面"),
    "overview": _Phrase("Overview", "概览"),
    "now": _Phrase("Now", "当前"),
    "changes": _Phrase("Changes", "变更"),
    "coverage": _Phrase("Coverage", "观测"),
    "evidence": _Phrase("Evidence", "依据"),
    "other_language": _Phrase("中文", "English"),
    "as_of_run": _Phrase("As of run {run}, {at}.", "截至第 {run} 次巡检（{at}）。"),
    "times_are": _Phrase("Times are {zone}.", "时间均为 {zone}。"),
    "same_command": _Phrase("The same on the command line:", "对应的命令："),
    "private_note": _Phrase("With private data.", "包含私有数据。"),
    "public_note": _Phrase("Public data only.", "仅包含公开数据。"),
    "sign_in": _Phrase("Sign in", "登录"),
    "stale_banner": _Phrase(
        "These pages have not been written for a long time: what they say may be out of date.",
        "这些页面已很久没有更新，内容可能已过时。",
    ),
    "older": _Phrase("Older", "较旧"),
    "page_of": _Phrase("Page {n} of {total}", "第 {n} / {total} 页"),
    "show": _Phrase("Show", "显示"),
    "all": _Phrase("all", "全部"),
    "zone": _Phrase("Zone", "可用区"),
    "region": _Phrase("Region", "地域"),
    "name": _Phrase("Name", "名称"),
    "image": _Phrase("Image", "镜像"),
    "since": _Phrase("Since", "起始"),
    "until": _Phrase("Until", "结束"),
    "state": _Phrase("State", "状态"),
    "variant": _Phrase("Variant", "查询参数组合"),
    "project": _Phrase("Project", "项目"),
    "kind": _Phrase("Kind", "资源类型"),
    "kind_uk8s-image": _Phrase("UK8S nodes", "UK8S 节点"),
    "kind_uhost-image": _Phrase("Machines (UHost)", "云主机 UHost"),
    "kind_phost-image": _Phrase("Bare metal (PHost)", "裸金属 PHost"),
    "zones": _counted("{n} zone", "{n} zones", "{n} 个可用区"),
    "names": _counted("{n} name", "{n} names", "{n} 个名称"),
    "images": _counted("{n} image", "{n} images", "{n} 个镜像"),
    "targets": _counted("{n} target", "{n} targets", "{n} 个目标"),
    # states
    "present": _Phrase("present", "在列"),
    "superseded": _Phrase("superseded", "有新版本"),
    "unusable": _Phrase("listed, but not usable", "在列但不可用"),
    "unusable_as": _Phrase("listed, but not usable ({state})", "在列但不可用（{state}）"),
    "unknown": _Phrase("unknown", "未知"),
    "withdrawn": _Phrase("withdrawn", "已下架"),
    "none": _Phrase("not here", "此处没有"),
    "unknown_because": _Phrase("unknown: {reason}", "未知：{reason}"),
    "reason_held": _Phrase("not listed, not believed yet", "不在列表中，待确认"),
    "reason_denied": _Phrase("access denied", "无权访问"),
    "reason_failed": _Phrase("no good answer", "未得到有效的返回内容"),
    "reason_skipped": _Phrase("not asked in time", "未及查询"),
    "reason_retired": _Phrase("no longer offered by the cloud", "云平台已不再提供"),
    "reason_deselected": _Phrase("no longer asked", "已不再查询"),
    "reason_stale": _Phrase("not looked at for too long", "久未观测"),
    "reason_never_observed": _Phrase("never observed", "从未观测"),
    "last_seen": _Phrase("last seen {at}", "最近观测到：{at}"),
    "gone_since": _Phrase("gone by {at}", "{at} 前下架"),
    "observed_at": _Phrase("observed {at}", "观测于 {at}"),
    # start
    "is_wrong": _Phrase("Is anything wrong?", "有无异常？"),
    "all_well": _Phrase("Nothing is wrong.", "一切正常。"),
    "all_well_more": _Phrase(
        "Every zone is known, nothing waits for confirmation, and no image went without a successor this week.",
        "所有可用区状态均已知，没有待确认的下架，本周也没有下架后无替代的镜像。",
    ),
    "look_at": _counted("One thing to look at", "{n} things to look at", "有 {n} 项需要关注"),
    "nothing_yet": _Phrase("Nothing is recorded yet.", "尚无任何记录。"),
    "nothing_yet_more": _Phrase(
        "The first run asks every zone and makes the baseline: crawler run",
        "首次巡检会查询所有可用区并建立基线：crawler run",
    ),
    "not_known": _counted("{n} zone is not known now", "{n} zones are not known now", "{n} 个可用区当前状态未知"),
    "not_known_more": _Phrase(
        "What was last seen there may still be so, or not.", "这些可用区最近一次观测到的情况，现在不一定仍然如此。"
    ),
    "elsewhere": _counted(
        "Another kind has zones that are not known now",
        "{n} other kinds have zones that are not known now",
        "另有 {n} 种资源类型存在状态未知的可用区",
    ),
    "partly_known": _counted(
        "{n} zone is known by some of its projects only",
        "{n} zones are known by some of their projects only",
        "{n} 个可用区仅部分项目状态已知",
    ),
    "partly_known_row": _Phrase("{known} of {total} targets are known", "{total} 个目标中有 {known} 个状态已知"),
    "held": _counted(
        "{n} image is not listed any more, not believed yet",
        "{n} images are not listed any more, not believed yet",
        "{n} 个镜像已不在列表中，待确认",
    ),
    "held_more": _Phrase("Later runs confirm or refute it.", "是否确已下架，由后续巡检确认。"),
    "gone": _counted(
        "{n} name was withdrawn without a successor this week",
        "{n} names were withdrawn without a successor this week",
        "本周有 {n} 个名称的镜像下架，且无替代镜像",
    ),
    "gpu": _counted(
        "One thing lost its GPU support this week",
        "{n} things lost their GPU support this week",
        "本周有 {n} 项不再支持 GPU",
    ),
    "gpu_last": _counted(
        "One thing lost its GPU support in the week up to the last change",
        "{n} things lost their GPU support in the week up to the last change",
        "截至最近一次变更的一周内，有 {n} 项不再支持 GPU",
    ),
    "gone_last": _counted(
        "{n} name was withdrawn without a successor in the week up to the last change",
        "{n} names were withdrawn without a successor in the week up to the last change",
        "截至最近一次变更的一周内，有 {n} 个名称的镜像下架，且无替代镜像",
    ),
    "flood": _Phrase("Too much changed to look at all of it", "变更过多，未能全部检查"),
    "flood_more": _Phrase(
        "Only the newest {n:,} changes of the week were looked at.", "仅检查了这一周最近的 {n:,} 项变更。"
    ),
    "latest": _Phrase("What changed last", "最近的变更"),
    "no_changes_lately": _Phrase("Nothing changed in the last {n} days.", "最近 {n} 天没有变更。"),
    "all_changes": _Phrase("All changes", "全部变更"),
    "known_zones": _counted("zone known", "zones known", "状态已知的可用区"),
    "changes_week": _counted("change in 7 days", "changes in 7 days", "7 天内的变更"),
    # now
    "now_title": _Phrase("What is available", "可用镜像"),
    "as_of": _Phrase("As of {at}", "截至 {at}"),
    "back_to_now": _Phrase("Back to now", "回到当前"),
    "moment": _Phrase("Moment", "时刻"),
    "find_name": _Phrase("Find a name", "查找名称"),
    "matrix_label": _Phrase("Names by zone; scrolls sideways", "按可用区列出的名称，可横向滚动"),
    "legend": _Phrase("Legend", "图例"),
    "legend_older": _Phrase("older id beside a newer one", "旧 ID 与新 ID 并存"),
    "legend_ids": _Phrase(
        "Cells show the end of the id; point at one to see it whole, click it to copy it.",
        "单元格显示 ID 的末几位；悬停可查看完整 ID，点击可复制。",
    ),
    "no_images": _Phrase("No images were listed.", "没有在列的镜像。"),
    "none_known": _Phrase(
        "What is listed is not known: no zone is known.", "是否有在列的镜像尚不可知：所有可用区状态均未知。"
    ),
    "no_images_known": _counted(
        "No images were listed where that is known; {n} zone is not known.",
        "No images were listed where that is known; {n} zones are not known.",
        "状态已知的可用区没有在列的镜像；另有 {n} 个可用区状态未知。",
    ),
    "nothing_asked": _Phrase("No zone is asked about these images.", "目前没有可用区在查询此类镜像。"),
    "no_match": _Phrase("No name fits.", "没有匹配的名称。"),
    "before_first": _Phrase("Nothing was recorded by then.", "当时尚无记录。"),
    "pruned": _Phrase(
        "Nobody can tell any more what was there then: the history before {at} was pruned.",
        "当时的情况已无法得知：{at} 之前的历史记录已清理。",
    ),
    # name
    "name_lead": _counted(
        "{state} in {n} of {total} zone", "{state} in {n} of {total} zones", "{total} 个可用区中 {n} 个{state}"
    ),
    "window": _Phrase("Time shown", "时间范围"),
    "window_all": _Phrase("all", "全部"),
    "window_days": _Phrase("{n} d", "{n} 天"),
    "window_year": _Phrase("1 y", "1 年"),
    "bars": _Phrase("By zone", "各可用区"),
    "bar_gaps": _Phrase("not known", "未知"),
    "bar_ids": _Phrase("shades change with the id", "颜色深浅随 ID 变化"),
    "chain": _Phrase("Ids, oldest first", "历次 ID（由旧到新）"),
    "use": _Phrase("Use it", "使用方式"),
    "use_zone": _Phrase(
        "For the zone {zone}; another one: put its name in.", "以可用区 {zone} 为例，可替换为其他可用区。"
    ),
    "use_id": _Phrase("The id now", "当前 ID"),
    "use_shell": _Phrase("Always the id to use now", "始终获取当前应使用的 ID"),
    "use_terraform": _Phrase("Terraform", "Terraform"),
    "use_terraform_uhost": _Phrase(
        "Terraform, ucloud_instance; a later change of the id does nothing to a machine that is there",
        "Terraform（ucloud_instance）；之后修改 ID 不影响已有机器",
    ),
    "use_terraform_phost": _Phrase(
        "Terraform, ucloud_baremetal_instance; a later change of the id reinstalls the machine",
        "Terraform（ucloud_baremetal_instance）；之后修改 ID 会重装机器",
    ),
    "use_packer": _Phrase("Packer", "Packer"),
    "use_packer_uhost": _Phrase("Packer, the builder ucloud-uhost", "Packer（构建器 ucloud-uhost）"),
    "use_cli_uhost": _Phrase("ucloud-cli, beside its other options", "ucloud-cli（其余选项另行添加）"),
    "use_renovate": _Phrase("A line that Renovate and check follow", "供 Renovate 和 check 识别的注释行"),
    "no_such_name": _Phrase("No image is called so.", "没有这个名称的镜像。"),
    "baseline": _Phrase("there before anyone looked", "首次观测前已存在"),
    "span_title": _Phrase("{id}, {since} to {until}", "{id}，{since} 至 {until}"),
    "span_open": _Phrase("{id}, since {since}", "{id}，自 {since} 起"),
    "gap_title": _Phrase("not known ({reason}), {since} to {until}", "未知（{reason}），{since} 至 {until}"),
    "gap_open": _Phrase("not known ({reason}), since {since}", "未知（{reason}），自 {since} 起"),
    # changes
    "changes_title": _Phrase("What changed", "变更记录"),
    "strip": _Phrase("Changes by day, thirteen weeks", "每日变更数（十三周）"),
    "strip_day": _counted("{day}: {n} change", "{day}: {n} changes", "{day}：{n} 项变更"),
    "event": _Phrase("Event", "事件"),
    "no_changes": _Phrase("No changes.", "没有变更。"),
    "no_changes_ever": _Phrase("No change was recorded yet.", "尚未记录任何变更。"),
    "pruned_changes": _Phrase(
        "What came before {at} was pruned: of that time not every change is left.",
        "{at} 之前的历史记录已清理：该时段的变更并未全部保留。",
    ),
    "cut": _counted(
        "Only the first change of this day is shown.",
        "Only the first {n} changes of this day are shown.",
        "仅显示当天的前 {n} 项变更。",
    ),
    "flood_day": _Phrase(
        "Only the newest {n:,} changes of this day were looked at.", "仅检查了当天最近的 {n:,} 项变更。"
    ),
    "permalink": _Phrase("Link to this", "此项变更的链接"),
    "before": _Phrase("Changes before {day}", "{day} 之前的变更"),
    # coverage
    "coverage_title": _Phrase("How well was it observed", "观测情况"),
    "coverage_lead": _Phrase(
        "The last {n} finished days (UTC), a column each. Hatched is time in which nobody knew.",
        "最近 {n} 个完整日（UTC），每日一列；斜纹表示状态未知的时段。",
    ),
    "known_share": _Phrase("Known", "已知"),
    "good": _Phrase("known", "已知"),
    "day_gap": _Phrase("{day}: not known for {hours} h ({reason})", "{day}：{hours} 小时未知（{reason}）"),
    "day_whole": _Phrase("{day}: not known ({reason})", "{day}：全天未知（{reason}）"),
    "days_whole": _Phrase("{day} to {last}: not known ({reason})", "{day} 至 {last}：未知（{reason}）"),
    "no_days_known": _Phrase("No zone was known on a finished day yet.", "尚无任何可用区有状态已知的完整日。"),
    "no_days": _Phrase("No day has finished yet since the first run.", "首次巡检至今还不满一个完整日。"),
    # pins
    "pins": _Phrase("Pins", "在用镜像"),
    "pins_title": _Phrase("Which ids in use are in danger", "哪些在用 ID 有风险"),
    "pins_bad": _counted("One pin needs a change", "{n} pins need a change", "有 {n} 处在用镜像需要修改"),
    "pins_doubted": _counted("One pin is not known now", "{n} pins are not known now", "有 {n} 处在用镜像当前状态未知"),
    "pins_well": _Phrase("Every pin is good.", "所有在用镜像均正常。"),
    "pins_effect": _Phrase("changing it: {effect}", "修改的影响：{effect}"),
    "pins_more": _counted(
        "One better one is not shown.", "{n} better ones are not shown.", "另有 {n} 处状况更好的未显示。"
    ),
    "pins_none": _Phrase("No pin is known. Reports name them:", "没有已知的在用镜像。可在报告中列出："),
    "outcome_ok": _Phrase("good", "正常"),
    "outcome_superseded": _Phrase("superseded", "有新版本"),
    "outcome_ending": _Phrase("maintenance ends soon", "即将停止维护"),
    "outcome_out-of-scope": _Phrase("out of scope", "不在范围内"),
    "outcome_re-issued": _Phrase("re-issued", "已更换 ID"),
    "outcome_ambiguous": _Phrase("gone, several came instead", "已下架，替代镜像不唯一"),
    "outcome_missing": _Phrase("gone, or cannot be used", "已下架或不可用"),
    "outcome_never-seen": _Phrase("never seen", "未找到"),
    "outcome_gpu-lost": _Phrase("lost its GPU", "不再支持 GPU"),
    "outcome_revoked": _Phrase("revoked", "已停用"),
    "outcome_not-asked": _Phrase("not asked", "未查询"),
    "outcome_unknown": _Phrase("unknown", "未知"),
    "outcome_stale": _Phrase("stale", "久未观测"),
    "effect_later-nodes": _Phrase("later nodes alone", "仅影响新节点"),
    "effect_nothing": _Phrase("nothing", "无影响"),
    "effect_replaces-cluster": _Phrase("replaces the cluster", "重建整个集群"),
    "effect_reinstalls-machine": _Phrase("reinstalls the machine", "重装机器"),
    "effect_rebuilds-image": _Phrase("the next build", "影响下次构建"),
    "effect_unknown": _Phrase("not known", "未知"),
    # evidence
    "evidence_title": _Phrase("Change {n}", "变更 {n}"),
    "evidence_before": _Phrase("Before", "之前"),
    "evidence_after": _Phrase("After", "之后"),
    "evidence_none": _Phrase("No answer was kept.", "未保存返回内容。"),
    "evidence_same": _Phrase("Both answers list the same records.", "两次返回的记录相同。"),
    "evidence_pruned": _Phrase(
        "It lies before the kept history: of its answers nothing is left.",
        "此项变更早于保留的历史记录，返回内容已清理。",
    ),
    "evidence_catalog": _Phrase(
        "It comes from what the cloud said exists, not from an answer about images.",
        "依据的是云平台的地域列表，而非镜像查询的返回内容。",
    ),
    "evidence_schema": _Phrase(
        "It is about which fields the answers state, not about an image.",
        "此项变更只涉及返回内容的字段，与具体镜像无关。",
    ),
    "evidence_target": _Phrase("Target", "目标"),
    "evidence_when": _Phrase("Happened", "发生于"),
    "evidence_request": _Phrase("Request", "请求"),
    "evidence_field": _Phrase("Field", "字段"),
    "not_listed": _Phrase("not listed", "未列出"),
    # errors
    "error_400": _Phrase("This cannot be asked so", "查询条件无效"),
    "error_401": _Phrase("A token is needed here", "需要令牌"),
    "error_404": _Phrase("There is no such page", "页面不存在"),
    "error_405": _Phrase("These pages can only be read", "页面只读"),
    "error_421": _Phrase("This server has another name", "服务器名称不符"),
    "error_500": _Phrase("Something went wrong here", "服务器内部出错"),
    "error_503": _Phrase("The history cannot be read just now", "暂时无法读取历史记录"),
    "error_504": _Phrase("This took too long", "查询超时"),
    "try_again": _Phrase("Try again in a moment.", "请稍后再试。"),
    "to_overview": _Phrase("To the overview", "返回概览"),
}

_REASONS: Mapping[str, str] = {reason: f"reason_{reason}" for reason in Reason.__args__}  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Writes the phrases of one language, and times in one zone."""

    language: Language
    dates: Dates

    def __call__(self, key: str, **values: object) -> str:
        """Return a phrase, filled in."""
        phrase = PHRASES[key]
        if self.language == "zh":
            return phrase.zh.format(**values)
        text = phrase.one if phrase.one and values.get("total", values.get("n")) == 1 else phrase.en
        return text.format(**values)

    def reason(self, reason: str | None) -> str:
        """Return why something is unknown; empty where it is known."""
        return self(_REASONS[reason]) if reason else ""

    def message(self, message: str) -> str:
        """Return what the cloud said, in at most 200 characters, its RetCode explained in the language."""
        if self.language == "zh":
            return Writer(words=WORDS["zh"], dates=self.dates, limits=LineLimits()).message(message, None)
        return plain(message, MESSAGE_LIMIT)

    @property
    def comma(self) -> str:
        """Return what stands between two parts of a line."""
        return self.dates.words.subject_comma

    def at(self, moment: datetime) -> str:
        """Return *moment* with its day."""
        return self.dates.full(moment)


def wording(language: Language, zone: ZoneInfo, now: datetime) -> Wording:
    """Return the words of a language; times of another year than that of *now* have their year."""
    return Wording(language=language, dates=Dates(words=WORDS[language], zone=zone, now=now))
