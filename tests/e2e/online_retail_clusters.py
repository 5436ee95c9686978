"""Online Retail clustered by recency, frequency and revenue, and held to published figures: the inertia of k-means of their logarithms in deviations.

Published of all valid sales, best of 50 starts. Without fees and postage, scikit-learn computed the same from the file. Who belongs to which cluster
is what arithmetic in Python makes of the file.

    QUINTILE_DATA  a folder with the data sets that are not ours to ship; these tests are skipped without it, and say so
"""
import pytest

from online_retail_scores import inputs, shop, suite  # noqa: F401
from support import clusters, label_sets
from support.clusters import by

# By so many clusters. Starts come to rest in places that differ in the fifth digit.
INERTIA = {"with-fees": {3: 4856.32, 4: 3924.38, 5: 3268.00}, "bundled": {3: 4848.49, 4: 3918.50, 5: 3261.59}}
FEATURES = by("last_order_at", "orders", "revenue")


class Bought(clusters.Space):
    """Points of (days since the last purchase, invoices, pence)."""

    def compared(self, person, as_of):
        days, invoices, pence = person
        return [clusters.compressed(each) for each in (days, invoices, pence / 100)]


@pytest.mark.parametrize("count", [3, 4, 5])
def clusters_come_to_the_inertia_that_is_known_of_the_file(shop, count):  # noqa: F811
    told = clusters.put_in_force(shop.client, "rfm", FEATURES, within="orders > 0", clusters=count)
    assert told.inertia == pytest.approx(INERTIA[shop.selection][count], rel=2e-4)
    of_file = inputs(shop.selection)
    held = {shop.customers[number]: label for number, label in label_sets.held(shop.client, "rfm").items() if label != clusters.REST}
    assert held.keys() == of_file.keys()
    space = Bought(FEATURES, of_file.values())
    clusters.assert_nearest(held, of_file, space, clusters.centres(told))
    members = {label: [space.point(of_file[customer]) for customer, each in held.items() if each == label] for label in clusters.cluster_ids(told)}
    # Centres that move less than a ten-thousandth of a deviation are at rest.
    for label, centre in clusters.centres(told).items():
        assert centre == pytest.approx(clusters.mean_of(members[label]), abs=1e-3), label
    assert [each.size for each in told.clusters] == [len(those) for those in members.values()] and told.customers == len(of_file)
