"""Customers of several owners, whom of them each role reaches, and the RPCs that ask about one customer."""
from support import facts

ABSENT = "customers/987654"
# Who looks after whom, what they say to marketing, and what they bought: (days ago, cents).
CUSTOMERS = {
    "ann-1": ("ann", "GIVEN", [(5, 9_000), (25, 8_000), (45, 7_000)]),
    "ann-2": ("ann", "OBJECTED", [(400, 1_100)]),
    "ann-3": ("ann", None, []),
    "bob-1": ("bob", "GIVEN", [(6, 9_100), (26, 8_100), (46, 7_100)]),
    "bob-2": ("bob", None, [(90, 2_300), (200, 2_400)]),
    "none-1": ("", "GIVEN", [(15, 70_000)]),
    "none-2": ("", "WITHDRAWN", [(16, 300)]),
    # Whose owner's name begins like ann's, or is hers in other letters.
    "anna": ("anna", None, [(3, 500)]),
    "Ann": ("Ann", None, [(3, 600)]),
}
REACHED = {"sales": {"ann-1", "ann-2", "ann-3"}, "marketer": {"ann-1", "bob-1", "none-1"}, "scoped": {"ann-1", "ann-2", "ann-3"}}
ROLES = sorted(REACHED)
OF_ONE = [("CustomerService/GetCustomer", "name", ""), ("FeatureService/GetFeatures", "name", "/features"),
          ("ScoreService/GetScore", "name", "/score"), ("ScoreService/ExplainScore", "name", "/score"),
          ("StageService/GetStage", "name", "/stage"), ("ProfileService/GetProfile", "name", "/profile")]
RIGHTS = ("ExportPersonalData", "RestrictProcessing", "LiftRestriction", "EraseCustomer")
# Besides, of the role that may call everything: RPCs whose requests name a customer.
OF_ONE_BY_EVERYTHING = [*OF_ONE, ("ProfileService/ListMembershipChanges", "parent", ""), ("PrivacyService/GetConsents", "name", ""),
                        ("ScoreService/ListScoreChanges", "parent", "/score"), ("StageService/ListStageTransitions", "parent", "/stage"),
                        ("ValueService/GetValue", "name", "/value"), ("FactService/ListCustomerFacts", "parent", ""),
                        ("RecommendationService/GetRecommendations", "name", "/recommendations"), ("WarningService/ListWarnings", "parent", ""),
                        *((f"WarningService/{verb}Warning", "name", "/warnings/1-0") for verb in ("Get", "Acknowledge", "Assign")),
                        ("PlaybookService/ListPlaybookRuns", "parent", ""), ("TaskService/ListTasks", "parent", ""),
                        ("PlaybookService/GetNextBestActions", "customer", ""),
                        ("DeliveryService/ListDeliveries", "parent", ""), ("DeliveryService/ReplayDelivery", "name", "/deliveries/1-0"),
                        *((f"TaskService/{verb}Task", "name", "/tasks/1-0") for verb in ("Get", "Claim")),
                        ("OfferService/ListGrants", "parent", ""), ("LoyaltyService/ListTierChanges", "parent", ""),
                        *((f"OfferService/{verb}Grant", "name", "/grants/1-0") for verb in ("Get", "Revoke")),
                        *((f"LoyaltyService/{verb}CustomerTier", "name", "/loyaltyTier") for verb in ("Get", "Clear")),
                        *((f"PrivacyService/{method}", "name", "") for method in RIGHTS)]
LEAP_DAY = {"year": 1980, "month": 2, "day": 29}  # Everybody's birthday.


def orders_of():
    """The rows of what they bought."""
    return [facts.order(customer, f"{customer}-{n}", *fact) for customer, (_, _, history) in CUSTOMERS.items() for n, fact in enumerate(history)]
