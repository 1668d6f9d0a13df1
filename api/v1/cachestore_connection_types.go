// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

// StoreAddress is host:port, with an IPv6 address in brackets.
//
// +kubebuilder:validation:MaxLength=261
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[[][0-9A-Fa-f:.]+[]]):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535",message="must be host:port with a port from 1 to 65535, for example redis.shop.svc:6379 or [fd00::1]:6379"
type StoreAddress string

// StoreTLS says how the operator authenticates a store, and itself to the store.
//
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.caSecretRef), has(self.clientCertificateSecretRef), has(self.serverName)].filter(set, set).size()",message="there is a field with another name than caSecretRef, clientCertificateSecretRef or serverName. Correct it, as the store would be used without it"
type StoreTLS struct {
	// caSecretRef names the Secret with the authorities to trust, as PEM in key ca.crt.
	// Absent: those of the system.
	//
	// +optional
	CASecretRef *SecretReference `json:"caSecretRef,omitempty"`

	// clientCertificateSecretRef names the Secret with the operator's certificate, as PEM in keys
	// tls.crt and tls.key.
	// Absent: the operator presents none.
	//
	// +optional
	ClientCertificateSecretRef *SecretReference `json:"clientCertificateSecretRef,omitempty"`

	// serverName is the name to expect in the server's certificate.
	// Absent: the host connected to.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
}

// SecretReference names a Secret of the same namespace.
type SecretReference struct {
	// name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Secret: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, for example: redis-auth"
	Name string `json:"name"`
}

// StoreReference names a CacheStore of the same namespace.
type StoreReference struct {
	// name of the CacheStore.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a CacheStore: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, for example: main"
	Name string `json:"name"`
}
