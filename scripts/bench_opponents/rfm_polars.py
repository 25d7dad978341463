"""The features of ``features.set: rfm`` as somebody who knows Polars writes them, in one script.

No segments, outliers or checks of the input: the group-by and its output alone. ``bench.py rfm``
compares every column with segpipe's.
"""

from __future__ import annotations

from typing import Any

from contest import Task, compete

DAY = 86_400_000_000
MONTH = 365.25 / 12


def prepare() -> Any:
    import polars

    return polars


def work(task: Task, pl: Any) -> dict[str, Any]:
    col = pl.col
    key = "customer_id"
    lines = pl.scan_parquet(task.files).select(
        key, "order_id", "category", "quantity",
        ts=col("ts").cast(pl.Int64), amount=col("quantity") * col("price"),
    )  # fmt: skip
    end = (lines.select(col("ts").max()).collect().item() // DAY + 1) * DAY
    buy = col("amount") >= 0
    orders = lines.group_by(key, "order_id").agg(
        bought=col("ts").filter(buy).min(),
        latest=col("ts").filter(buy).max(),
        first=col("ts").min(),
        last=col("ts").max(),
        gross=col("amount").filter(buy).sum(),
        back=-col("amount").filter(~buy).sum(),
        lines=buy.sum(),
        returned=(~buy).sum(),
        items=col("quantity").filter(buy).sum(),
    )
    is_order = col("lines") > 0
    when = col("bought").filter(is_order)
    spent = col("gross").filter(is_order)
    weekday = (when // DAY + 4) % 7  # 0 = Sunday
    month = pl.from_epoch(when, "us").dt.truncate("1mo")
    recent = spent.filter(end - when <= 90 * DAY).sum()
    before = spent.filter((end - when > 90 * DAY) & (end - when <= 180 * DAY)).sum()
    gaps = when.sort().diff().drop_nulls() / DAY
    customers = orders.group_by(key).agg(
        frequency=is_order.sum().cast(pl.Float64),
        first=pl.coalesce(when.min(), col("first").min()),
        latest=pl.coalesce(col("latest").filter(is_order).max(), col("last").max()),
        gross=spent.sum(),
        back=col("back").sum(),
        monetary_std=spent.std(ddof=0).fill_null(0.0),
        months=month.n_unique(),
        gap=gaps.mean(),
        gap_std=gaps.std(ddof=0),
        items=col("items").filter(is_order).sum(),
        basket_median=spent.median().fill_null(0.0),
        lines=col("lines").sum(),
        returned=col("returned").sum(),
        weekend=((weekday == 0) | (weekday == 6)).sum(),
        night=(when % DAY < DAY // 4).sum(),
        recent=recent,
        before=before,
    )
    some = pl.max_horizontal(col("frequency"), 1.0)
    tenure, recency = (end - col("first")) / DAY, (end - col("latest")) / DAY
    mean_gap = pl.when(col("frequency") > 1).then(col("gap")).otherwise(tenure)
    total = col("recent") + col("before")
    since = pl.from_epoch(col("first"), "us")
    last_month = pl.lit(end - 1).cast(pl.Datetime("us"))
    elapsed = 12 * (last_month.dt.year() - since.dt.year()) + (
        last_month.dt.month().cast(pl.Int32) - since.dt.month()
    )
    features = customers.select(
        key,
        "frequency",
        "monetary_std",
        "basket_median",
        recency_days=recency,
        tenure_days=tenure,
        orders_per_month=col("frequency") * MONTH / pl.max_horizontal(tenure, MONTH),
        monetary_total=col("gross") - col("back"),
        monetary_mean=col("gross") / some,
        active_months_share=col("months") / (elapsed + 1),
        interpurchase_mean_days=mean_gap,
        interpurchase_cv=pl.when((col("frequency") > 1) & (col("gap") > 0))
        .then(col("gap_std") / col("gap"))
        .otherwise(0.0),
        lateness=recency / pl.max_horizontal(mean_gap, 1.0),
        basket_items=col("items") / some,
        return_rate=col("returned") / pl.max_horizontal(col("lines") + col("returned"), 1),
        weekend_share=col("weekend") / some,
        night_share=col("night") / some,
        trend_90d=pl.when(total > 0).then((col("recent") - col("before")) / total).otherwise(0.0),
        single_purchase=(col("frequency") <= 1).cast(pl.Float64),
    )
    share = col("n") / col("n").sum()
    categories = (
        lines.filter(buy)
        .group_by(key, "category")
        .agg(n=pl.len())
        .group_by(key)
        .agg(
            distinct_categories=pl.len().cast(pl.Float64),
            category_entropy=-(share * share.log()).sum(),
            top_category_share=share.max(),
        )
    )
    joined = features.join(categories, on=key, how="left").with_columns(
        col("distinct_categories", "category_entropy", "top_category_share").fill_null(0.0)
    )
    joined.collect(engine="streaming").write_parquet(task.out)
    return {}


compete(prepare, work)
