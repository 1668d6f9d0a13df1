// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// No controller of Kubernetes runs beside the API server, and no kubelet. The functions below
// return the status that these would write.

// RolledOut returns the status of a Deployment whose pods are all available.
func RolledOut(d *appsv1.Deployment) appsv1.DeploymentStatus {
	n := *d.Spec.Replicas // the API server sets a default
	return appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		Replicas:           n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.Now(),
		}},
	}
}

// Completed returns the status of a Job whose pod succeeded.
func Completed() batchv1.JobStatus {
	now := metav1.Now()
	status := batchv1.JobStatus{StartTime: &now, CompletionTime: &now, Succeeded: 1}
	for _, kind := range []batchv1.JobConditionType{
		batchv1.JobSuccessCriteriaMet, batchv1.JobComplete,
	} {
		status.Conditions = append(status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now,
		})
	}
	return status
}
