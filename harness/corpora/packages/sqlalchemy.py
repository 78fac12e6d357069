"""SQLAlchemy on sqlite3 in memory: tables, mapped classes, relationships, queries, transactions, events, errors, engines made and disposed of."""
import sys
import typing

sys.path.pop(0)  # this folder: its files are named after the packages they use
from sqlalchemy import ForeignKey, String, case, create_engine, event, func, select, text  # noqa: E402
from sqlalchemy.exc import IntegrityError, OperationalError  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload  # noqa: E402


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30), unique=True)
    posts: Mapped[typing.List["Post"]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Post(Base):
    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship(back_populates="posts")


for i in range(12):
    engine = create_engine("sqlite://")
    seen = []
    event.listen(engine, "before_cursor_execute", lambda *a, seen=seen: seen.append(a[2]))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(name="u%d" % n, posts=[Post(title="p%d" % p) for p in range(3)]) for n in range(20)])
        session.commit()
        assert len(session.scalars(select(User).options(selectinload(User.posts)).where(User.name.like("u1%"))).all()) == 11
        session.execute(select(User, Post).join(Post).order_by(Post.title.desc()).limit(7)).all()
        session.scalars(select(Post).options(joinedload(Post.user))).unique().all()
        rows = session.execute(select(func.count(Post.id), case((User.id > 3, "a"), else_="b")).join(User).group_by(User.id)).mappings().all()
        assert len(rows) == 20
        first = session.get(User, 1)
        first.posts.pop()
        session.delete(session.get(User, 2))
        session.flush()
        session.rollback()
        try:
            session.add(User(name="u1"))
            session.commit()
            sys.exit("an error was expected")
        except IntegrityError:
            session.rollback()
        with session.begin_nested():
            session.add(User(name="nested"))
    with engine.connect() as connection:
        list(connection.execution_options(stream_results=True).execute(text("select * from post where id > :n"), {"n": 5}))
        try:
            connection.execute(text("select nonsense"))
            sys.exit("an error was expected")
        except OperationalError:
            pass
    engine.dispose()
    assert seen
