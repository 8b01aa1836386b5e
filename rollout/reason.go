package rollout

// Reason is a code for why something is as it is. Codes are stable: they appear
// in tables, in the journal and in other people's scripts.
type Reason string

// The reasons. Each has an entry in the table below.
const (
	ReasonUnreachable           Reason = "unreachable"
	ReasonNoName                Reason = "name-not-resolved"
	ReasonLogonRefused          Reason = "logon-refused"
	ReasonAccessDenied          Reason = "access-denied"
	ReasonWrongHost             Reason = "wrong-host"
	ReasonNotObserved           Reason = "not-observed"
	ReasonNotReadable           Reason = "not-readable"
	ReasonNotFullyObserved      Reason = "not-fully-observed"
	ReasonStateMoved            Reason = "state-moved"
	ReasonGPOListener           Reason = "gpo-owned-listener"
	ReasonGPODisablesWinRM      Reason = "gpo-disables-winrm"
	ReasonGPODisablesShell      Reason = "gpo-disables-shell"
	ReasonBlankFilter           Reason = "blank-address-filter"
	ReasonHTTPClient            Reason = "http-client-active"
	ReasonClientNotMoved        Reason = "client-not-moved"
	ReasonCensusShort           Reason = "census-too-short"
	ReasonHTTPBack              Reason = "http-back"
	ReasonPolicyRecreated       Reason = "policy-recreated"
	ReasonHTTPSGone             Reason = "https-gone"
	ReasonCertificateReplaced   Reason = "certificate-replaced"
	ReasonRuleWidened           Reason = "rule-widened"
	ReasonPortTaken             Reason = "https-port-taken"
	ReasonLocalRulesInert       Reason = "local-firewall-rules-inert"
	ReasonCompatListener        Reason = "compatibility-listener"
	ReasonClockSkew             Reason = "clock-skew"
	ReasonSchedulerOff          Reason = "task-scheduler-off"
	ReasonClusterNode           Reason = "failover-cluster"
	ReasonEventCollector        Reason = "event-collector"
	ReasonNotDue                Reason = "not-due"
	ReasonNoCertificate         Reason = "no-fit-certificate"
	ReasonDCReuseOnly           Reason = "dc-reuse-only"
	ReasonEnrollDenied          Reason = "enroll-denied"
	ReasonEnrollPending         Reason = "enroll-pending"
	ReasonEnrollFailed          Reason = "enroll-failed"
	ReasonReuseOnly             Reason = "reuse-only"
	ReasonEnrollExpired         Reason = "enroll-expired"
	ReasonEnrollRequest         Reason = "enroll-request-unfit"
	ReasonEnrollAnswer          Reason = "enroll-answer-unfit"
	ReasonCAUnavailable         Reason = "ca-unavailable"
	ReasonListenerFailed        Reason = "listener-not-created"
	ReasonFirewallFailed        Reason = "firewall-rule-failed"
	ReasonTLSFailed             Reason = "tls-failed"
	ReasonUntrusted             Reason = "untrusted-chain"
	ReasonMissingLink           Reason = "missing-intermediate"
	ReasonSelfSigned            Reason = "self-signed"
	ReasonExpired               Reason = "certificate-expired"
	ReasonNotYetValid           Reason = "certificate-not-yet-valid"
	ReasonWrongName             Reason = "certificate-wrong-name"
	ReasonWrongUsage            Reason = "certificate-wrong-usage"
	ReasonWeakChain             Reason = "sha1-chain"
	ReasonNoCommonCipher        Reason = "no-common-cipher"
	ReasonRevoked               Reason = "certificate-revoked"
	ReasonRevocationNoSource    Reason = "revocation-no-source"
	ReasonRevocationUnreachable Reason = "revocation-unreachable"
	ReasonRevocationTimeout     Reason = "revocation-timed-out"
	ReasonRevocationHTTPStatus  Reason = "revocation-http-error"
	ReasonRevocationTooLarge    Reason = "revocation-too-large"
	ReasonCRLMalformed          Reason = "crl-malformed"
	ReasonCRLIssuer             Reason = "crl-wrong-issuer"
	ReasonCRLSignature          Reason = "crl-bad-signature"
	ReasonCRLStale              Reason = "crl-stale"
	ReasonCRLFuture             Reason = "crl-not-yet-valid"
	ReasonCRLScope              Reason = "crl-not-for-this"
	ReasonDeltaBase             Reason = "crl-delta-mismatch"
	ReasonOCSPMalformed         Reason = "ocsp-malformed"
	ReasonOCSPRefused           Reason = "ocsp-refused"
	ReasonOCSPSignature         Reason = "ocsp-bad-signature"
	ReasonOCSPOther             Reason = "ocsp-wrong-certificate"
	ReasonOCSPStale             Reason = "ocsp-stale"
	ReasonOCSPFuture            Reason = "ocsp-not-yet-valid"
	ReasonOCSPNonce             Reason = "ocsp-wrong-nonce"
	ReasonOCSPUnknown           Reason = "ocsp-unknown"
	ReasonThumbprintDiffers     Reason = "thumbprints-differ"
	ReasonHTTPStillOpen         Reason = "http-still-open"
	ReasonHTTPUncertain         Reason = "http-state-uncertain"
	ReasonNarrowFailed          Reason = "http-not-narrowed"
	ReasonFirewallOff           Reason = "firewall-off"
	ReasonSelfNotSeen           Reason = "own-connection-not-seen"
	ReasonSoaking               Reason = "soaking"
	ReasonTurnedAway            Reason = "client-turned-away"
	ReasonNotSoaked             Reason = "not-soaked"
	ReasonUndoNotArmed          Reason = "undo-not-armed"
	ReasonUndoFired             Reason = "undo-fired"
	ReasonImageFailed           Reason = "before-image-not-saved"
	ReasonRestoreFailed         Reason = "restore-failed"
	ReasonNoImage               Reason = "no-before-image"
	ReasonNothingToRenew        Reason = "nothing-to-renew"
	ReasonInterrupted           Reason = "interrupted"
	ReasonProtocol              Reason = "protocol-error"
	ReasonTimeout               Reason = "timed-out"
	ReasonQuota                 Reason = "host-quota"
	ReasonInternal              Reason = "internal-error"
)

// Hint is what an administrator can do about the reason.
func (r Reason) Hint() string { return reasons[r].hint }

// Title is the reason as a sentence without its end.
func (r Reason) Title() string {
	if t := reasons[r].title; t != "" {
		return t
	}
	return string(r)
}

// Reasons lists every code in the order of the table.
func Reasons() []Reason { return reasonOrder }
