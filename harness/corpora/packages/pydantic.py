"""pydantic: models, validators, unions, generics, JSON both ways, schemas, errors, models made and dropped."""
import datetime
import decimal
import enum
import sys
import typing
import uuid

sys.path.pop(0)  # this folder: its files are named after the packages they use
import pydantic  # noqa: E402
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, computed_field, create_model, field_validator, model_validator  # noqa: E402


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    n: int = Field(gt=0)
    tags: typing.List[str] = []


class Outer(BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: uuid.UUID
    when: datetime.datetime
    price: decimal.Decimal
    colour: Colour
    inner: typing.Dict[str, Inner]
    either: typing.Union[int, str, None] = None

    @field_validator("price")
    @classmethod
    def positive(cls, v):
        if v < 0:
            raise ValueError("negative")
        return v

    @model_validator(mode="after")
    def whole(self):
        return self

    @computed_field
    @property
    def twice(self) -> decimal.Decimal:
        return self.price * 2


adapter = TypeAdapter(typing.List[typing.Tuple[int, float, typing.Optional[bytes]]])
for i in range(150):
    doc = {"id": str(uuid.UUID(int=i)), "when": "2024-01-02T03:04:05Z", "price": "%d.5" % i, "colour": "red",
           "inner": {"k%d" % i: {"n": i + 1, "tags": ["a", str(i)]}}, "either": "x%d" % i, "more": [i]}
    m = Outer.model_validate(doc)
    text = m.model_dump_json()
    again = Outer.model_validate_json(text.replace(',"twice"', ',"t"'))
    assert again.price == m.price
    m.model_copy(deep=True), m.model_dump(mode="json", exclude={"inner"}), repr(m)
    adapter.validate_python([(1, 2, None), ("3", 4.5, "b")]), adapter.dump_json([(1, 2.0, b"x")])
    try:
        Outer.model_validate(dict(doc, price=-1, colour="no", inner={"a": {"n": 0}}))
        sys.exit("an error was expected")
    except ValidationError as e:
        e.errors(), e.json(), str(e)
    if i % 10 == 0:
        dynamic = create_model("Dynamic%d" % i, a=(int, ...), b=(typing.Optional[Inner], None))
        dynamic(a=i, b={"n": 2}).model_dump()
        dynamic.model_json_schema()
