"""Where made-up customers live. Domains are reserved for examples, numbers start like fiction's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """What a business takes from its country."""

    name: str
    code: str
    currency: str
    time_zone: str
    tax_name: str
    tax_rate: str
    # Town, region, postal code.
    towns: tuple[tuple[str, str, str], ...]
    streets: tuple[str, ...]
    area_codes: tuple[str, ...]

    def phone(self, number: int) -> tuple[str, str]:
        """A number as people write it and in E.164 form; `number` is any whole number."""
        number, area = divmod(number, len(self.area_codes))
        code, local = self.area_codes[area], f"{number % 10_000:04d}"
        if self.code == "GB":
            return f"0{code} 96{local}", f"+44{code}96{local}"
        return f"({code}) 555-{local}", f"+1{code}555{local}"


UNITED_STATES = Country(
    name="United States",
    code="US",
    currency="USD",
    time_zone="America/Los_Angeles",
    tax_name="Sales tax",
    tax_rate="8.6",
    towns=(
        ("Portland", "OR", "97202"), ("Portland", "OR", "97214"), ("Portland", "OR", "97217"),
        ("Beaverton", "OR", "97005"), ("Hillsboro", "OR", "97123"), ("Gresham", "OR", "97030"),
        ("Tigard", "OR", "97223"), ("Lake Oswego", "OR", "97034"), ("Salem", "OR", "97301"),
        ("Eugene", "OR", "97401"), ("Vancouver", "WA", "98660"), ("Vancouver", "WA", "98683"),
        ("Seattle", "WA", "98103"), ("Seattle", "WA", "98118"), ("Tacoma", "WA", "98405"),
        ("Olympia", "WA", "98501"), ("Everett", "WA", "98201"), ("Spokane", "WA", "99201"),
        ("Bellevue", "WA", "98004"), ("Renton", "WA", "98055"), ("Boise", "ID", "83702"),
        ("Nampa", "ID", "83651"), ("Meridian", "ID", "83642"), ("Bend", "OR", "97701"),
    ),
    streets=(
        "Oak Street", "Maple Avenue", "Cedar Lane", "Alder Court", "Hawthorne Boulevard",
        "Division Street", "Burnside Street", "Fremont Street", "Lombard Street", "Stark Street",
        "Mill Road", "River Road", "Hillcrest Drive", "Orchard Way", "Park Place", "Juniper Street",
        "5th Avenue", "12th Avenue", "23rd Street", "Sunset Drive",
    ),
    area_codes=("503", "971", "206", "253", "360", "425", "509", "541", "208", "986"),
)  # fmt: skip

UNITED_KINGDOM = Country(
    name="United Kingdom",
    code="GB",
    currency="GBP",
    time_zone="Europe/London",
    tax_name="VAT",
    tax_rate="20",
    towns=(
        ("Leeds", "West Yorkshire", "LS6 2AB"), ("Leeds", "West Yorkshire", "LS8 1DT"),
        ("Bradford", "West Yorkshire", "BD1 4QR"), ("Wakefield", "West Yorkshire", "WF1 2PL"),
        ("Harrogate", "North Yorkshire", "HG1 5LD"), ("York", "North Yorkshire", "YO10 4HH"),
        ("Sheffield", "South Yorkshire", "S7 1FL"), ("Sheffield", "South Yorkshire", "S11 8TR"),
        ("Manchester", "Greater Manchester", "M14 5RB"), ("Stockport", "Cheshire", "SK4 2JN"),
        ("Huddersfield", "West Yorkshire", "HD3 4AA"), ("Ilkley", "West Yorkshire", "LS29 8EX"),
        ("Otley", "West Yorkshire", "LS21 1AD"), ("Skipton", "North Yorkshire", "BD23 1JZ"),
        ("Halifax", "West Yorkshire", "HX1 2TS"), ("Barnsley", "South Yorkshire", "S70 2PG"),
    ),
    streets=(
        "High Street", "Church Lane", "Station Road", "Victoria Road", "Mill Lane", "Park Road",
        "Queen Street", "Albert Terrace", "Moor Road", "The Crescent", "Chapel Street",
        "Windsor Avenue", "Kirkgate", "Otley Road", "Grove Lane", "Springfield Road",
    ),
    area_codes=("1632",),
)  # fmt: skip

CANADA = Country(
    name="Canada",
    code="CA",
    currency="CAD",
    time_zone="America/Vancouver",
    tax_name="GST",
    tax_rate="5",
    towns=(
        ("Vancouver", "BC", "V5K 0A1"), ("Vancouver", "BC", "V6J 1X1"),
        ("Burnaby", "BC", "V5C 2K4"), ("Surrey", "BC", "V3T 1V8"), ("Richmond", "BC", "V6X 2B9"),
        ("Langley", "BC", "V3A 4E6"), ("Kelowna", "BC", "V1Y 6N2"), ("Victoria", "BC", "V8W 1L5"),
        ("Nanaimo", "BC", "V9R 5K8"), ("Kamloops", "BC", "V2C 1X4"), ("Calgary", "AB", "T2N 1M7"),
        ("Edmonton", "AB", "T5J 0N3"), ("Red Deer", "AB", "T4N 1X5"), ("Banff", "AB", "T1L 1A1"),
    ),
    streets=(
        "Cambie Street", "Granville Street", "Fraser Street", "Main Street", "Kingsway",
        "Dunbar Street", "Larch Street", "Balsam Street", "Spruce Avenue", "Lakeshore Road",
        "Pandosy Street", "Harvey Avenue", "Mountain View Drive", "Willow Crescent",
    ),
    area_codes=("604", "778", "250", "236", "403", "587", "780", "825"),
)  # fmt: skip

COUNTRIES = (UNITED_STATES, UNITED_KINGDOM, CANADA)

FIRST_NAMES = (
    "Aaliyah", "Aaron", "Adam", "Aisha", "Alan", "Alice", "Amelia", "Amir", "Amy", "Andre",
    "Anita", "Anna", "Arjun", "Barbara", "Ben", "Beth", "Brian", "Carla", "Carlos", "Cathy",
    "Chen", "Chris", "Claire", "Connor", "Daniel", "Darius", "David", "Deepa", "Diana", "Diego",
    "Dmitri", "Ed", "Elena", "Eli", "Ella", "Emma", "Eric", "Esther", "Ethan", "Farah", "Felix",
    "Fiona", "Frank", "Gabriela", "George", "Grace", "Hana", "Harold", "Hassan", "Helen", "Hugo",
    "Ian", "Imani", "Ines", "Isaac", "Ivy", "Jack", "Jamal", "James", "Jane", "Jasmine", "Jin",
    "Joan", "Joel", "John", "Josephine", "Juan", "Julia", "Karen", "Keith", "Kim", "Laila",
    "Lara", "Leo", "Linda", "Logan", "Lucia", "Luke", "Maria", "Mark", "Martha", "Mei", "Mia",
    "Michael", "Mina", "Mohammed", "Nadia", "Naomi", "Nathan", "Nina", "Noah", "Nora", "Oliver",
    "Olivia", "Omar", "Owen", "Patrick", "Paula", "Peter", "Priya", "Quinn", "Rachel", "Raj",
    "Rebecca", "Rob", "Rosa", "Ruth", "Ryan", "Samira", "Sandra", "Sean", "Sofia", "Steve",
    "Susan", "Tariq", "Theo", "Thomas", "Tina", "Tom", "Uma", "Vera", "Victor", "Wendy", "Will",
    "Yara", "Yuki", "Zach", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Adams", "Ahmed", "Allen", "Alvarez", "Anderson", "Bailey", "Baker", "Barnes",
    "Bell", "Bennett", "Brooks", "Brown", "Bryant", "Burke", "Butler", "Campbell", "Carter",
    "Chan", "Clark", "Cole", "Collins", "Cook", "Cooper", "Cox", "Cruz", "Davies", "Davis",
    "Diaz", "Edwards", "Ellis", "Evans", "Fernandez", "Fisher", "Fleming", "Flores", "Ford",
    "Foster", "Fox", "Garcia", "Gibson", "Gomez", "Graham", "Gray", "Green", "Griffin", "Hall",
    "Hamilton", "Harris", "Hayes", "Hill", "Howard", "Hughes", "Hunt", "Hussain", "Ito",
    "Jackson", "James", "Jenkins", "Johnson", "Jones", "Jordan", "Kaur", "Kelly", "Kennedy",
    "Khan", "Kim", "King", "Klein", "Kowalski", "Kumar", "Lee", "Lewis", "Li", "Lopez", "Marsh",
    "Martin", "Mason", "Mendoza", "Miller", "Mitchell", "Moore", "Morgan", "Morris", "Murphy",
    "Murray", "Myers", "Nguyen", "Novak", "O'Brien", "O'Neill", "Okafor", "Olsen", "Ortiz",
    "Owens", "Palmer", "Park", "Parker", "Patel", "Perez", "Perry", "Peterson", "Phillips",
    "Porter", "Powell", "Price", "Ramirez", "Reed", "Reyes", "Rivera", "Roberts", "Robinson",
    "Rogers", "Ross", "Russell", "Sanchez", "Santos", "Sato", "Schmidt", "Scott", "Shah",
    "Silva", "Simmons", "Singh", "Smith", "Stewart", "Sullivan", "Suzuki", "Taylor", "Thomas",
    "Thompson", "Torres", "Tran", "Turner", "Walker", "Wallace", "Walsh", "Wang", "Ward",
    "Watson", "Webb", "West", "White", "Williams", "Wilson", "Wood", "Wright", "Yang", "Young",
    "Zhang",
)  # fmt: skip
COMPANY_NAMES = (
    "Acorn", "Alpine", "Anchor", "Beacon", "Birch", "Blue Door", "Bridge", "Cascade", "Cedar",
    "Copper", "Corner", "Crown", "Eagle", "Eastside", "Evergreen", "Falcon", "Garden", "Granite",
    "Harbor", "Heritage", "Hillside", "Horizon", "Iron", "Lakeside", "Lantern", "Maple", "Meadow",
    "Northgate", "Old Mill", "Orchard", "Pacific", "Pioneer", "Prairie", "Red Barn", "Ridge",
    "River", "Sierra", "Silver", "Station", "Summit", "Union", "Valley", "Village", "Willow",
)  # fmt: skip
COMPANY_KINDS = (
    "Bakery", "Books", "Brewing", "Cafe", "Clinic", "Dental", "Fitness", "Gallery", "Hotel",
    "Kitchen", "Law Offices", "Logistics", "Market", "Motors", "Pharmacy", "Properties",
    "Restaurant", "School", "Studios", "Veterinary",
)  # fmt: skip
JOB_TITLES = ("Facilities manager", "Office manager", "Owner", "Property manager", "Site lead")
