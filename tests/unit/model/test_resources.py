"""``PlacementGroupFactory`` beside the requests that other tests cover."""

from __future__ import annotations

import pytest

from hpctune.errors import UsageError
from hpctune.model.resources import PlacementGroupFactory, Resources, resource_dict_to_pg_factory


def test_the_whole_interface_of_a_placement_group_factory() -> None:
    factory = PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}])
    assert factory.head_cpus == 1
    assert not factory.head_bundle_is_empty
    assert factory.required_resources == {"CPU": 3, "GPU": 1}
    empty = PlacementGroupFactory([{}, {"CPU": 2}])
    assert empty.head_bundle_is_empty
    assert empty.head_cpus == 0
    assert empty.bundles == [{"CPU": 2}]
    with pytest.raises(UsageError, match=r"SlurmOptions\(constraint="):
        PlacementGroupFactory([{"CPU": 1}], bundle_label_selector=[{"gpu": "a100"}])
    assert resource_dict_to_pg_factory({"cpu": 2, "gpu": 0, "custom_resources": {"disk": 1}}).bundles == [
        {"CPU": 2, "disk": 1}
    ]


@pytest.mark.parametrize(("name", "meant"), [("cpus", "cpu"), ("num_gpus", "gpu"), ("GPUs", "gpu"), ("mem", "memory")])
def test_a_name_of_other_programs_is_no_resource_of_the_site(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no resource {name!r}. Did you mean {meant!r}"):
        Resources.parse({name: 1})
    assert Resources.parse({"custom_resources": {name: 1}}).bundles[0].custom == {name: 1}
