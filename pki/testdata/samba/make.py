#!/usr/bin/python3
# Writes descriptors.txt: security descriptors in SDDL and in Samba's own binary form
# (python3-samba), so that what is read here was written by somebody else.
from samba.dcerpc import security
from samba.ndr import ndr_pack

DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"
ENROLL, AUTO = "0e10c968-78fb-11d2-90d4-00c04f79dc55", "a05b8cc2-17bc-4802-a710-e7c15ab866a2"
ADMINS = "(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;DA)(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;EA)"
READ = "(A;;LCRPLORC;;;AU)"


def rights(who):
    return f"(OA;;CR;{ENROLL};;{who})(OA;;CR;{AUTO};;{who})"


HEAD = "O:EAG:EAD:PAI"
shapes = {
    "good": HEAD + rights("DC") + ADMINS + READ,
    "esc4": HEAD + rights("DC") + ADMINS + "(A;;LCRPWPLORCWDWO;;;AU)",
    "no-computers": HEAD + rights("DA") + ADMINS + READ,
    "denied": HEAD + f"(OD;;CR;{ENROLL};;DC)" + rights("DC") + ADMINS + READ,
    "denied-too-late": HEAD + rights("DC") + ADMINS + READ + f"(OD;;CR;{ENROLL};;DC)",
    "denied-to-all": HEAD + "(D;;CR;;;WD)" + rights("DC") + ADMINS + READ,
    "inherit-only": HEAD + f"(OA;CIIO;CR;{ENROLL};;DC)" + ADMINS + READ,
    "inherited-for-users": HEAD + f"(OA;CI;CR;{ENROLL};bf967aba-0de6-11d0-a285-00aa003049e2;DC)" + ADMINS + READ,
    "autoenroll-only": HEAD + f"(OA;;CR;{AUTO};;DC)" + ADMINS + READ,
    "all-rights": HEAD + "(OA;;CR;;;DC)" + ADMINS + READ,
    "extended-rights": HEAD + "(A;;CR;;;DU)" + ADMINS + READ,
    "generic-all": HEAD + "(A;;GA;;;AU)" + ADMINS,
    "generic-write": HEAD + rights("DC") + "(A;;GW;;;DU)" + ADMINS + READ,
    "one-attribute": HEAD + rights("DC") + "(OA;;WP;ea1dddc4-60ff-416e-8cc0-17cee534bce7;;DU)" + ADMINS + READ,
    "owned-by-users": "O:DUG:EAD:PAI" + rights("DC") + ADMINS + READ,
    "service-account": HEAD + f"(OA;;CR;{ENROLL};;{DOMAIN}-1601)" + ADMINS + READ,
    "shared-relay": HEAD + f"(OA;;CR;{ENROLL};;{DOMAIN}-1601)(OA;;CR;{ENROLL};;{DOMAIN}-1700)" + ADMINS + READ,
    "delegated": HEAD + rights("DC") + f"(A;;RPWPWDWO;;;{DOMAIN}-1800)" + ADMINS + READ,
    "audited": HEAD + rights("DC") + ADMINS + READ + "S:AI(AU;SAFA;WPWDWO;;;WD)",
    "no-dacl": "O:EAG:EA",
    "empty-dacl": "O:EAG:EAD:P",
}
with open("descriptors.txt", "w") as out:
    for name, sddl in shapes.items():
        packed = ndr_pack(security.descriptor.from_sddl(sddl, security.dom_sid(DOMAIN)))
        out.write(f"{name} {sddl} {packed.hex()}\n")
