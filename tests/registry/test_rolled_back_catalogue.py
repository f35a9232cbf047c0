"""What a server serves between its own rollback and the supervisor's line about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.contract import Version
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.errors import ApiError, Refused
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder

OTHER = "mage/combat_dqn"


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path)


def go_back(folder: ServedFolder, version: Version, back_to: str | None, target: str = TARGET) -> None:
    RollbackFile(folder.path).append(
        ServerRollback(
            id=f"{target} {version.name}",
            target=target,
            version=version.name,
            model_sha256=version.model_sha256,
            back_to=back_to,
            cause=Cause.MANUAL,
            detail="",
            at="2000-01-01T00:00:00Z",
        ),
    )


def promote(folder: ServedFolder, count: int, target: str = TARGET) -> list[Version]:
    return [folder.promote(models.wide(actions=2 + number), target) for number in range(count)]


def test_it_serves_what_it_went_back_to_and_not_what_active_json_names(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    go_back(folder, second, first.name)
    catalogue = Catalogue(folder.path)
    assert catalogue.all_active() == {TARGET: first}
    assert catalogue.resolve(TARGET, None) == first


def test_by_its_name_too_only_a_version_that_was_not_rolled_back_is_given(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    go_back(folder, second, first.name)
    assert Catalogue(folder.path).resolve(TARGET, first.name) == first
    with pytest.raises(ApiError, match="rolled_back") as refused:
        Catalogue(folder.path).resolve(TARGET, second.name)
    assert refused.value.status == 409


def test_two_rollbacks_lead_two_versions_back(folder: ServedFolder) -> None:
    first, second, third = promote(folder, 3)
    go_back(folder, third, second.name)
    go_back(folder, second, first.name)
    assert Catalogue(folder.path).resolve(TARGET, None) == first


def test_a_target_with_nothing_left_is_not_active_and_the_others_are(folder: ServedFolder) -> None:
    [only], [other] = promote(folder, 1), promote(folder, 1, OTHER)
    go_back(folder, only, None)
    catalogue = Catalogue(folder.path)
    assert catalogue.all_active() == {OTHER: other}
    with pytest.raises(ApiError, match="rolled back") as refused:
        catalogue.resolve(TARGET, None)
    assert (refused.value.status, refused.value.code) == (404, "not_active")


def test_a_rollback_of_another_target_or_of_an_older_version_says_nothing(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    [other] = promote(folder, 1, OTHER)
    go_back(folder, first, None)
    go_back(folder, other, None, OTHER)
    assert Catalogue(folder.path).all_active() == {TARGET: second}
    assert Catalogue(folder.path).resolve(TARGET, None) == second


def test_a_version_promoted_since_is_active(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    go_back(folder, second, first.name)
    third = folder.promote(models.wide(actions=20))
    assert Catalogue(folder.path).resolve(TARGET, None) == third
    assert Catalogue(folder.path).all_active() == {TARGET: third}


def test_going_back_to_a_version_that_nobody_knows_leads_to_the_one_before(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    go_back(folder, second, "v000099")
    assert Catalogue(folder.path).all_active() == {TARGET: first}
    assert Catalogue(folder.path).resolve(TARGET, None) == first


def test_whatever_active_json_names_that_log_and_snapshot_do_not_know_is_refused_as_before(
    folder: ServedFolder,
) -> None:
    [first] = promote(folder, 1)
    go_back(folder, first, None)
    folder.activate(TARGET, Version("v000099", 99, {}, "f" * 64, interface=first.interface))
    found = Catalogue(folder.path).all_active()[TARGET]
    assert isinstance(found, Refused)
    with pytest.raises(Refused, match="v000099"):
        Catalogue(folder.path).resolve(TARGET, None)


def test_another_model_of_that_name_is_not_the_one_rolled_back(folder: ServedFolder) -> None:
    """The run was begun anew in its folder, and what the server of the earlier one said lies there still."""
    first, second = promote(folder, 2)
    go_back(folder, Version(second.name, 2, {}, "f" * 64), first.name)
    assert Catalogue(folder.path).resolve(TARGET, None) == second


def test_a_damaged_line_takes_no_version_out_of_production(folder: ServedFolder) -> None:
    first, second = promote(folder, 2)
    path = folder.path / "serving" / "rollbacks.jsonl"
    path.parent.mkdir()
    path.write_bytes(b'{"target":\n\xff\n')
    assert Catalogue(folder.path).resolve(TARGET, None) == second
    go_back(folder, second, first.name)
    assert Catalogue(folder.path).resolve(TARGET, None) == first
