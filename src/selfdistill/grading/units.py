"""Units that may follow a number: the list, and one name for each unit however it is written."""

from __future__ import annotations

import re

_NAMES = """
mm millimeter millimetre · cm centimeter centimetre · m meter metre · km kilometer kilometre · in inch · ft foot feet
yd yard · mi mile · nm nanometer · mg milligram · g gram · kg kilogram kilo · lb lbs pound · oz ounce · t ton tonne
ml mL milliliter millilitre · l L liter litre · gal gallon · qt quart · pt pint · cup · acre · hectare ha
s sec second · min minute · h hr hour · day · week · month · yr year · kmh kph · mph · Hz hertz · newton · joule
watt · kW kilowatt · volt · ampere amp · Pa pascal · kelvin · mol mole · ohm · cal calorie · kcal
° deg degree 度 · rad radian · $ dollar USD usd buck · ¢ cent · € euro EUR · £ GBP · ¥ yen yuan RMB rupee 元
unit 单位 · 个 只 件 本 张 条 支 颗 枚 · 人 名 位 person people · 种 way · 次 · 米 · 厘米 · 千米 公里 · 岁 · 天 日 · 小时 · 分钟 分 · 秒
st nd rd th · student · child children · boy · girl · man men · woman women · player · team · member · friend · pupil · teacher
solution · value · number · integer · digit · point · page · problem · question · term · factor · divisor · root · zero · prime
pair · triple · set · subset · element · group · arrangement · permutation · combination · outcome · path · route · tile · word · letter
triangle · square · rectangle · circle · side · edge · vertex vertices · face · diagonal · line · region · cube · block · box boxes
ball · card · coin · marble · apple · orange · book · pencil · pen · ticket · seat · chair · table · car · bus buses · egg · cookie
candy candies · flower · tree · animal · dog · cat · cow · chicken · rabbit · horse · bird · fish · game · match matches · vote · step · row
column · color colour · handshake · intersection · bag · bottle · glass glasses · piece · part · sheet · stamp · house · room · floor · mark
"""
_CANONICAL = {
    name: group.split()[0] for line in _NAMES.strip().splitlines() for group in line.split("·") for name in group.split()
}  # fmt: skip
_POWERS = {
    "square": 2,
    "sq": 2,
    "sq.": 2,
    "squared": 2,
    "平方": 2,
    "cubic": 3,
    "cu": 3,
    "cubed": 3,
    "立方": 3,
}


def unit_of(text: str) -> str | None:
    """Return the one name of a unit, such as `cm^2` for "square centimetres"; None if it is not in the list."""
    parts = [_single(part.strip()) for part in re.split(r"\s*/\s*|\bper\b|\\cdot", text.strip())]
    return "/".join(parts) if all(parts) else None


def _single(text: str) -> str | None:
    """Return the one name of a unit without a quotient."""
    power, words = 1, []
    text = re.sub(r"^(平方|立方)", r"\1 ", text)
    for word in text.replace("^{", "^").replace("}", "").split():
        word, _, exponent = word.partition("^")
        power *= _POWERS.get(word, 1) * (int(exponent) if exponent.isdigit() else 1)
        if word not in _POWERS and word:
            words.append(word.rstrip(".,") or word)
    name = _canonical(words[0]) if len(words) == 1 else None
    return name if name is None or power == 1 else f"{name}^{power}"


def _canonical(word: str) -> str | None:
    """Return the first name of a unit's group; words of more than two letters in any case and number."""
    forms = [word]
    if len(word) > 2:
        low = word.lower()
        forms += [low, low.removesuffix("s"), low.removesuffix("es")]
    return next((_CANONICAL[form] for form in forms if form in _CANONICAL), None)
