package server

import (
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/tenant"
)

// permission says who may call a method.
type permission struct {
	role tenant.Role // the least
	of   owner
	// field is where the request names what it is about, "name" or "user.name": with ofTenant only.
	field string
	empty emptyField
}

// owner says whose it is what a method shows or changes.
type owner int

const (
	// ofTenant is what one field of the request names: that of a tenant, or of several for tenants/-. For a caller that is
	// bound to a tenant, tenants/- is its own one, and what is not below its own does not exist.
	ofTenant owner = iota + 1
	// ofInstance is nothing for a caller that is bound to a tenant.
	ofInstance
	// ofCaller is what the method itself narrows down to what the caller may see.
	ofCaller
	// ofNobody says nothing of any tenant.
	ofNobody
)

// emptyField says what a bound caller that leaves permission.field empty asks for.
type emptyField int

const (
	emptyMissing  emptyField = iota // nothing: the field is required
	emptyAll                        // all tenants': its own
	emptyInstance                   // what stands under no tenant: nothing for it
)

// Short forms for the table.
var (
	look = func(field string) permission { return permission{role: tenant.RoleViewer, of: ofTenant, field: field} }
	run  = func(field string) permission {
		return permission{role: tenant.RoleOperator, of: ofTenant, field: field}
	}
	shape = func(field string) permission { return permission{role: tenant.RoleAdmin, of: ofTenant, field: field} }

	lookAtInstance = permission{role: tenant.RoleViewer, of: ofInstance}
	runInstance    = permission{role: tenant.RoleOperator, of: ofInstance}
	shapeInstance  = permission{role: tenant.RoleAdmin, of: ofInstance}
	lookAtNothing  = permission{role: tenant.RoleViewer, of: ofNobody}
)

// or returns the permission with another meaning of an empty field.
func (p permission) or(e emptyField) permission {
	p.empty = e
	return p
}

// permissions has every method that is served. What has no row here is refused to everybody.
var permissions = map[string]permission{
	concentratorv1.ListenerService_CreateListener_FullMethodName: shapeInstance,
	concentratorv1.ListenerService_GetListener_FullMethodName:    lookAtInstance,
	concentratorv1.ListenerService_ListListeners_FullMethodName:  lookAtInstance,
	concentratorv1.ListenerService_UpdateListener_FullMethodName: shapeInstance,
	concentratorv1.ListenerService_DeleteListener_FullMethodName: shapeInstance,
	concentratorv1.ListenerService_WatchListeners_FullMethodName: lookAtInstance,

	concentratorv1.TenantService_CreateTenant_FullMethodName: shapeInstance,
	concentratorv1.TenantService_GetTenant_FullMethodName:    look("name"),
	concentratorv1.TenantService_ListTenants_FullMethodName:  {role: tenant.RoleViewer, of: ofCaller},
	concentratorv1.TenantService_UpdateTenant_FullMethodName: shape("tenant.name"),
	concentratorv1.TenantService_DeleteTenant_FullMethodName: shapeInstance,
	concentratorv1.TenantService_WatchTenants_FullMethodName: {role: tenant.RoleViewer, of: ofCaller},
	concentratorv1.TenantService_RotatePsk_FullMethodName:    shape("name"),

	concentratorv1.ProfileService_CreateProfile_FullMethodName: shape("parent"),
	concentratorv1.ProfileService_GetProfile_FullMethodName:    look("name"),
	concentratorv1.ProfileService_ListProfiles_FullMethodName:  look("parent"),
	concentratorv1.ProfileService_UpdateProfile_FullMethodName: shape("profile.name"),
	concentratorv1.ProfileService_DeleteProfile_FullMethodName: shape("name"),
	concentratorv1.ProfileService_WatchProfiles_FullMethodName: look("parent"),

	concentratorv1.UserService_CreateUser_FullMethodName:  run("parent"),
	concentratorv1.UserService_GetUser_FullMethodName:     look("name"),
	concentratorv1.UserService_ListUsers_FullMethodName:   look("parent"),
	concentratorv1.UserService_UpdateUser_FullMethodName:  run("user.name"),
	concentratorv1.UserService_DeleteUser_FullMethodName:  run("name"),
	concentratorv1.UserService_ImportUsers_FullMethodName: run("parent"),
	concentratorv1.UserService_WatchUsers_FullMethodName:  look("parent"),

	concentratorv1.PoolService_CreatePool_FullMethodName: shape("parent"),
	concentratorv1.PoolService_GetPool_FullMethodName:    look("name"),
	concentratorv1.PoolService_ListPools_FullMethodName:  look("parent"),
	concentratorv1.PoolService_UpdatePool_FullMethodName: shape("pool.name"),
	concentratorv1.PoolService_DeletePool_FullMethodName: shape("name"),
	concentratorv1.PoolService_WatchPools_FullMethodName: look("parent"),

	concentratorv1.LeaseService_GetLease_FullMethodName:     look("name"),
	concentratorv1.LeaseService_ListLeases_FullMethodName:   look("parent"),
	concentratorv1.LeaseService_WatchLeases_FullMethodName:  look("parent"),
	concentratorv1.LeaseService_ReleaseLease_FullMethodName: run("name"),

	concentratorv1.AclService_CreateAcl_FullMethodName: shape("parent"),
	concentratorv1.AclService_GetAcl_FullMethodName:    look("name"),
	concentratorv1.AclService_ListAcls_FullMethodName:  look("parent"),
	concentratorv1.AclService_UpdateAcl_FullMethodName: shape("acl.name"),
	concentratorv1.AclService_DeleteAcl_FullMethodName: shape("name"),
	concentratorv1.AclService_WatchAcls_FullMethodName: look("parent"),

	concentratorv1.RadiusServerService_CreateRadiusServer_FullMethodName: shape("parent"),
	concentratorv1.RadiusServerService_GetRadiusServer_FullMethodName:    look("name"),
	concentratorv1.RadiusServerService_ListRadiusServers_FullMethodName:  look("parent"),
	concentratorv1.RadiusServerService_UpdateRadiusServer_FullMethodName: shape("radius_server.name"),
	concentratorv1.RadiusServerService_DeleteRadiusServer_FullMethodName: shape("name"),
	concentratorv1.RadiusServerService_WatchRadiusServers_FullMethodName: look("parent"),
	concentratorv1.RadiusServerService_TestRadiusServer_FullMethodName:   run("name"),

	concentratorv1.SessionService_GetSession_FullMethodName:         look("name"),
	concentratorv1.SessionService_ListSessions_FullMethodName:       look("parent"),
	concentratorv1.SessionService_WatchSessions_FullMethodName:      look("parent"),
	concentratorv1.SessionService_DisconnectSession_FullMethodName:  run("name"),
	concentratorv1.SessionService_DisconnectSessions_FullMethodName: run("parent"),
	concentratorv1.SessionService_CaptureSession_FullMethodName:     shape("name"),

	concentratorv1.LoginAttemptService_GetLoginAttempt_FullMethodName:    look("name"),
	concentratorv1.LoginAttemptService_ListLoginAttempts_FullMethodName:  look("parent").or(emptyAll),
	concentratorv1.LoginAttemptService_WatchLoginAttempts_FullMethodName: look("parent").or(emptyAll),

	concentratorv1.LockoutService_GetLockout_FullMethodName:    look("name"),
	concentratorv1.LockoutService_ListLockouts_FullMethodName:  look("parent"),
	concentratorv1.LockoutService_WatchLockouts_FullMethodName: look("parent"),
	concentratorv1.LockoutService_DeleteLockout_FullMethodName: run("name"),

	concentratorv1.AccountingQueueService_GetAccountingQueue_FullMethodName:    look("name"),
	concentratorv1.AccountingQueueService_ListAccountingQueues_FullMethodName:  look("parent"),
	concentratorv1.AccountingQueueService_ListAccountingRecords_FullMethodName: look("parent"),

	concentratorv1.ApiTokenService_CreateApiToken_FullMethodName: shape("parent").or(emptyInstance),
	concentratorv1.ApiTokenService_GetApiToken_FullMethodName:    look("name"),
	concentratorv1.ApiTokenService_ListApiTokens_FullMethodName:  look("parent").or(emptyInstance),
	concentratorv1.ApiTokenService_WatchApiTokens_FullMethodName: look("parent").or(emptyInstance),
	concentratorv1.ApiTokenService_UpdateApiToken_FullMethodName: shape("api_token.name"),
	concentratorv1.ApiTokenService_DeleteApiToken_FullMethodName: shape("name"),
	concentratorv1.ApiTokenService_RotateApiToken_FullMethodName: shape("name"),

	concentratorv1.InstanceService_GetInstance_FullMethodName:       lookAtInstance,
	concentratorv1.InstanceService_ListInstances_FullMethodName:     lookAtInstance,
	concentratorv1.InstanceService_ReencryptInstance_FullMethodName: shapeInstance,
	concentratorv1.InstanceService_DrainInstance_FullMethodName:     runInstance,
	concentratorv1.InstanceService_UndrainInstance_FullMethodName:   runInstance,
	concentratorv1.InstanceService_BackupInstance_FullMethodName:    shapeInstance,

	concentratorv1.OperationService_GetOperation_FullMethodName:      look("name"),
	concentratorv1.OperationService_ListOperations_FullMethodName:    look("parent").or(emptyInstance),
	concentratorv1.OperationService_WatchOperations_FullMethodName:   look("parent").or(emptyInstance),
	concentratorv1.OperationService_WaitOperation_FullMethodName:     look("name"),
	concentratorv1.OperationService_CancelOperation_FullMethodName:   run("name"),
	concentratorv1.OperationService_DeleteOperation_FullMethodName:   run("name"),
	concentratorv1.OperationService_DownloadOperation_FullMethodName: shapeInstance,

	concentratorv1.AuditEventService_GetAuditEvent_FullMethodName:     look("name"),
	concentratorv1.AuditEventService_ListAuditEvents_FullMethodName:   look("parent").or(emptyAll),
	concentratorv1.AuditEventService_WatchAuditEvents_FullMethodName:  look("parent").or(emptyAll),
	concentratorv1.AuditEventService_VerifyAuditEvents_FullMethodName: lookAtInstance,

	grpc_health_v1.Health_Check_FullMethodName:                                   lookAtNothing,
	grpc_health_v1.Health_List_FullMethodName:                                    lookAtNothing,
	grpc_health_v1.Health_Watch_FullMethodName:                                   lookAtNothing,
	grpc_reflection_v1.ServerReflection_ServerReflectionInfo_FullMethodName:      lookAtNothing,
	grpc_reflection_v1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: lookAtNothing,
}
