"""
The languages: every phrase of a mail, once per language. A phrase that one of them lacks is a type error.

`phrases.py` says which there are and how they are filled in; `english.py` and `chinese.py` are what readers read.
"""

from __future__ import annotations

from crawler.domain.subscriptions import Language
from crawler.notifications.i18n.chinese import CHINESE
from crawler.notifications.i18n.english import ENGLISH
from crawler.notifications.i18n.phrases import Words

WORDS: dict[Language, Words] = {"en": ENGLISH, "zh": CHINESE}
