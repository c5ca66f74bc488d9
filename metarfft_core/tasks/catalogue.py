"""The order of the paper's tasks (its Table 1)."""

SOURCES = ("leetcode", "nupa", "bbh", "symbolic")
SPLITS = ("pretrain", "downstream")

IDS = (
    "lc_2582", "lc_2129", "lc_2210", "lc_824", "lc_2103", "lc_2899", "lc_2833", "lc_2057", "lc_953",
    "lc_2785", "lc_2460", "lc_2682", "lc_1694", "lc_890", "lc_2390", "lc_2418", "lc_1909",
    "lc_1704", "lc_1823", "lc_2810", "lc_2645", "lc_2609", "lc_2423", "lc_2185", "lc_2496",
    "lc_1275", "lc_1576", "lc_1041", "lc_2078", "lc_2016", "lc_3271", "lc_2529", "lc_2047",
    "lc_2828", "lc_2404", "lc_2678", "lc_674", "lc_605", "lc_290", "lc_414", "lc_388", "lc_434",
    "lc_228", "lc_448", "lc_242", "lc_268", "lc_383", "lc_682", "lc_387", "lc_345", "lc_392",
    "lc_705", "lc_796", "lc_2562", "lc_1417", "lc_520", "lc_557", "lc_541", "lc_485", "lc_344",
    "lc_500", "lc_482", "lc_896", "lc_551", "lc_1556", "lc_2869", "lc_258", "lc_283", "lc_125",
    "lc_2544", "lc_1598", "lc_3324", "lc_2677", "lc_461", "nupa_get_digit", "nupa_add",
    "nupa_digit_max", "nupa_length", "bbh_dyck_languages", "bbh_hyperbaton", "bbh_navigate",
    "bbh_object_counting", "bbh_reverse_list", "bbh_word_sorting", "sr_coin_flip", "sr_last_letter",
)
