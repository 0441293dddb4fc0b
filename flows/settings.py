"""Settings: `config/default.yaml`, a file of the user's, the environment, `--set`; in rising order.

The only module that reads the environment.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, YamlConfigSettingsSource

from segtools.bounded_yaml import load_yaml
from segtools.dataset.home import FolderHome
from segtools.decode import DecodeOptions
from segtools.errors import SpecError
from segtools.objectstore.bucket import BucketOptions
from segtools.objectstore.s5cmd import FetchOptions
from segtools.objectstore.urls import is_bucket_url
from segtools.resources import folder
from segtools.run.consent import Consent
from segtools.run.executors.base import ExecutorOptions, Kind
from segtools.run.pipeline import PipelineOptions
from segtools.terminology.names import close_matches, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_settings import PydanticBaseSettingsSource

    from segtools.dataset.home import Home
    from segtools.select import CohortSpec, Sources
    from segtools.select.engines.base import Engine

PREFIX = "IDCSEG_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Section):
    """Where tables and source images are."""

    index: tuple[Path, ...] = ()
    mirror: Path = Path("~/.cache/idcseg")
    images: tuple[Path, ...] = ()


class EngineSettings(_Section):
    """What answers the queries."""

    kind: Literal["duckdb", "bigquery"] = "duckdb"
    memory_limit: str = "4GB"
    project: str | None = None
    location: str = "US"
    maximum_bytes_billed: int = Field(50_000_000_000, gt=0)
    credentials_file: Path | None = None
    api_endpoint: str | None = None
    price_usd_per_tib: float = Field(6.25, ge=0)


class WriteSettings(_Section):
    """How volumes are written, and how a bucket is reached that they go to."""

    compression_level: int = Field(1, ge=0, le=3)
    keep_replaced_hours: float = Field(24, ge=0, le=87_600)
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials_file: str | None = None
    workers: int = Field(16, ge=1)
    verify_md5: bool = True


class RunSettings(_Section):
    """Where batches run, and within which limits."""

    kind: Kind = "processes"
    workers: int | None = Field(None, ge=1)
    address: str | None = None
    memory_bytes: int | None = Field(None, gt=0)
    window: int | None = Field(None, ge=1)
    batch_bytes: int = Field(2_000_000_000, gt=0)
    batch_series: int = Field(64, gt=0)
    scratch: Path | None = None
    disk_budget_bytes: int = Field(20_000_000_000, gt=0)
    memory_budget_bytes: int | None = Field(None, gt=0)
    confirm_above_bytes: int | None = Field(100_000_000_000, gt=0)
    replace: bool = False
    shards: int = Field(1, ge=1, le=40)
    shard_work_pool: str | None = None

    @model_validator(mode="after")
    def _shards_need_a_pool(self) -> Self:
        if self.shards > 1 and not self.shard_work_pool:
            raise ValueError("run.shards above 1 needs run.shard_work_pool, a work pool of Prefect")
        return self


_MAY_BE_ZERO = frozenset({"retries", "backoff_s", "min_bytes_s"})


def _check_numbers(section: str, options: object) -> None:
    """Refuse numbers that mean nothing: the dataclasses of `segtools` state no ranges."""
    for option in fields(options):  # type: ignore[arg-type]
        value = getattr(options, option.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or value < 0 or (value == 0 and option.name not in _MAY_BE_ZERO):
            least = "0 or more" if option.name in _MAY_BE_ZERO else "more than 0"
            raise ValueError(f"{section}.{option.name} must be {least}, not {value}")


class Settings(BaseSettings):
    """All settings; see `config/default.yaml`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__"
    )
    _files: ClassVar[tuple[Path, ...]] = ()

    sources: SourceSettings = SourceSettings()
    engine: EngineSettings = EngineSettings()
    fetch: FetchOptions = FetchOptions()
    decode: DecodeOptions = DecodeOptions()
    write: WriteSettings = WriteSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _numbers_mean_something(self) -> Self:
        _check_numbers("fetch", self.fetch)
        _check_numbers("decode", self.decode)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values, then the environment, then the files, the user's before the default."""
        files = (YamlConfigSettingsSource(settings_cls, file) for file in cls._files)
        return init_settings, env_settings, *files

    def make_sources(self, spec: CohortSpec | None, indexes: Sequence[Path] = ()) -> Sources:
        """The tables to ask: those given, then the settings', then the cohort's own."""
        from segtools.select import Sources

        given = (*indexes, *(path.expanduser() for path in self.sources.index))
        mirror = self.sources.mirror.expanduser()
        if spec is None:
            return Sources(given, idc=not given, mirror=mirror)
        return Sources.of(spec, indexes=given, mirror=mirror)

    def make_engine(self) -> Engine:
        """The engine that `engine.kind` names."""
        engine = self.engine
        if engine.kind == "duckdb":
            from segtools.select import LocalEngine

            return LocalEngine(memory_limit=engine.memory_limit)
        from segtools.select import BigQueryEngine

        if engine.project is None:
            raise SpecError(
                "settings-invalid",
                "engine.kind is bigquery, but engine.project is not set.",
                hint="Name the Google Cloud project that is billed: --set engine.project=NAME.",
                key="engine.project",
            )
        return BigQueryEngine(
            project=engine.project,
            location=engine.location,
            maximum_bytes_billed=engine.maximum_bytes_billed,
            credentials_file=str(engine.credentials_file) if engine.credentials_file else None,
            api_endpoint=engine.api_endpoint,
            price_usd_per_tib=engine.price_usd_per_tib,
        )

    def make_home(self, dataset: str) -> Home:
        """Where a dataset lives: a folder, or ``s3://bucket/name``."""
        if not is_bucket_url(dataset):
            return FolderHome(Path(dataset))
        from segtools.dataset.bucket_home import BucketHome

        return BucketHome(dataset, self.bucket_options())

    def bucket_options(self) -> BucketOptions:
        """How to reach the bucket of a dataset."""
        return BucketOptions(**self.write.model_dump(exclude={"compression_level", "keep_replaced_hours"}))

    def make_consent(self) -> Consent:
        """What may be deleted and downloaded without asking."""
        return Consent(self.run.replace, self.run.confirm_above_bytes)

    def make_executor(self) -> ExecutorOptions:
        """Executor options; as many workers as cores, if none are given."""
        run = self.run
        workers = run.workers or len(os.sched_getaffinity(0))
        return ExecutorOptions(run.kind, workers, run.address, run.memory_bytes, run.window)

    def make_pipeline(self) -> PipelineOptions:
        """Pipeline options; raw files go to the system's temporary folder by default."""
        run = self.run
        scratch = run.scratch or Path(tempfile.gettempdir()) / f"idcseg-{os.getuid()}"
        options = PipelineOptions(scratch.expanduser())
        return replace(
            options,
            disk_budget_bytes=run.disk_budget_bytes,
            memory_budget_bytes=run.memory_budget_bytes,
        )


def load_settings(config: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Settings from the default, a file, the environment and overrides.

    Parameters
    ----------
    config : Path, optional
        YAML file with some of the settings.
    overrides : sequence of str
        ``section.key=value``, the value as YAML.

    Raises
    ------
    SpecError
        ``settings-invalid``.
    """
    default = folder("config") / "default.yaml"
    files = (config, default) if config is not None else (default,)
    for file in files:
        _check_file(file)

    class Loaded(Settings):
        _files: ClassVar[tuple[Path, ...]] = files

    try:
        return Loaded(**_nested(overrides))
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> SpecError:
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        *sections, name = (str(part) for part in first["loc"])
        known = _known_keys(sections)
        rest = ""
        if not sections and isinstance(first["input"], dict) and first["input"]:
            rest = f".{next(iter(first['input']))}"
            key += rest
        close = [".".join((*sections, f"{item}{rest}")) for item in close_matches(name, known)]
        where = f"{sections[0]} has" if sections else "There are"
        hint = did_you_mean(close) or f"{where} {', '.join(sorted(known))}."
        return SpecError("settings-invalid", f"There is no setting {key}.", hint=hint, key=key, near=close)
    if not key:
        return SpecError("settings-invalid", f"{message}.", key=message.partition(" ")[0])
    return SpecError("settings-invalid", f"Setting {key}: {message} (got {first['input']!r}).", key=key)


def _known_keys(sections: Sequence[str]) -> set[str]:
    """The settings of a section; the sections where none is given."""
    if not sections:
        return set(Settings.model_fields)
    field = Settings.model_fields.get(sections[0])
    kind: Any = None if field is None else field.annotation
    if hasattr(kind, "model_fields"):
        return set(kind.model_fields)
    return {item.name for item in fields(kind)} if is_dataclass(kind) else set()


def _check_file(file: Path) -> None:
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError("settings-invalid", f"Settings file {file}: {error}.", path=str(file)) from error
    if not isinstance(content, dict | None):
        raise SpecError(
            "settings-invalid", f"Settings file {file} is not a mapping of keys to values.", path=str(file)
        )


def _nested(overrides: Sequence[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for override in overrides:
        name, separator, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (separator and dot):
            raise SpecError("settings-invalid", f"--set {override!r} is not section.key=value.", key=name)
        try:
            nested.setdefault(section, {})[key] = load_yaml(text)
        except yaml.YAMLError as error:
            raise SpecError("settings-invalid", f"--set {override!r}: {error}.", key=name) from error
    return nested
