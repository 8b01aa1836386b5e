package main

import (
	"wavelock/ldapdisco"
	"wavelock/pki"
)

// pkiTemplate is a template of the directory as pki judges it.
func pkiTemplate(t ldapdisco.Template) pki.Template {
	return pki.Template{Name: t.Name, OID: t.OID, SchemaVersion: t.SchemaVersion, Flags: t.Flags, NameFlags: t.NameFlags,
		EnrollmentFlags: t.EnrollmentFlags, PrivateKeyFlags: t.PrivateKeyFlags, EKUs: t.EKUs, ApplicationPolicies: t.ApplicationPolicies, IssuancePolicies: t.IssuancePolicies,
		KeyUsage: t.KeyUsage, MinimalKeySize: t.MinimalKeySize, CSPs: t.CSPs, Validity: t.Validity, Overlap: t.Overlap,
		RASignatures: t.RASignatures, RAPolicies: t.RAPolicies, SecurityDescriptor: t.SecurityDescriptor}
}
