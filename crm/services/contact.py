"""Phone numbers and e-mail addresses in the one form that can be compared."""

import phonenumbers


def normalize_phone(text: str, region: str) -> str:
    """A phone number in E.164 form, or only its digits when it is no valid number.

    `region` is the ISO 3166 country of numbers written without a country code. Empty for a text
    without digits.
    """
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        number = None
    if number is not None and phonenumbers.is_possible_number(number):
        formatted: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return formatted
    return "".join(character for character in text if character.isdecimal())[:20]


def normalize_email(text: str) -> str:
    """An e-mail address as it is compared: trimmed, in lower case."""
    return text.strip().casefold()
