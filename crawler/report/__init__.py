"""
Reports: what changed, told once, to the people who asked for it. Thought and wording here; delivery in the outbox.

How the pieces meet (nothing in this room touches the database; `records.py` is all it knows of the history):

* `values`    the words between the rooms: `Subscription`, `Told`, `DigestFacts` in; `Digest` out.
* `schedule`  `parse_when(text) -> When`, `is_due(when, zone, last=…, now=…)`: whether the whole digest is due now.
* `digest`    `build_digest(subscription, facts, told, urgent_only=…) -> Digest | None`. Pure. None: there is nothing to
              tell, so send nothing, and keep `told` as it was.
* `render`    `render(digest) -> Rendered(subject, text, html, csv)`. Pure, and the same every time.
* `message`   `compose(digest, sender=…, to=…, at=…) -> EmailMessage`. Equal arguments give equal bytes; `message_id` is
              its Message-ID without composing.

What the caller does, once per subscription after each finished run:

1. Gather `DigestFacts` over the runs this subscription was not told of. `is_due` → `build_digest(…)`. Not due, and
   "pins" in `subscription.urgent` → `build_digest(…, urgent_only=True)`: only what cannot wait. The runs stay untold
   then: their changes join the next digest, apart from those the urgent mail told (`Told.early` remembers which).
2. When there is a digest, store in one transaction that it exists (its `kind`, `first_run`, `last_run`), the composed
   message or what makes it again, and `digest.told` as the subscription's state, whatever becomes of the sending. A
   retry sends the same message with the same Message-ID. When a due digest is None, the range is told and `told` stays.
3. Ranges that were never composed merge by themselves: the next facts simply hold more runs.

This module imports nothing, so that reading the settings loads no template engine.
"""
