// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Kernel

/// Units and containers by the shapes that their cgroups have.
@Suite struct UnitTests {
    static let id = String(repeating: "0123456789abcdef", count: 4)
    static let short = "0123456789ab"

    @Test(
        arguments: [
            ("/system.slice/nginx.service", Unit("nginx.service", .service)),
            ("/system.slice/nginx.service/worker", Unit("nginx.service", .service)),
            ("/system.slice/system-foo.slice/foo@bar.service", Unit("foo@bar.service", .service)),
            (
                #"/system.slice/system-a\x2db.slice/a\x2db@c.service"#,
                Unit(#"a\x2db@c.service"#, .service)
            ),
            ("/system.slice/_memory.hog.service", Unit("memory.hog.service", .service)),
            ("/system.slice/ssh.socket", Unit("ssh.socket", .socket)),
            ("/user.slice/user-0.slice/session-3.scope", Unit("session-3.scope", .scope)),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.foo-1234.scope",
                Unit("app-org.foo-1234.scope", .scope, isUser: true)
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
                Unit("web.service", .service, isUser: true)
            ),
            ("/machine.slice/machine-foo.scope", Unit("machine-foo.scope", .scope)),
            (
                "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
                Unit("nginx.service", .service)
            ),
            ("/system.slice/docker-\(id).scope", Unit(short, .container)),
            ("/system.slice/docker-\(id).scope/init.scope", Unit(short, .container)),
            (
                "/system.slice/docker-\(id).scope/system.slice/nginx.service",
                Unit("nginx.service", .service, container: short)
            ),
            ("/docker/\(id)", Unit(short, .container)),
            ("/docker/\(String(repeating: "f", count: 64))/docker/\(id)", Unit(short, .container)),
            (
                "/kubepods.slice/kubepods-pod1.slice/cri-containerd-\(id).scope", Unit(short, .container)
            ),
            ("/kubepods.slice/kubepods-pod1.slice/crio-\(id).scope", Unit(short, .container)),
            ("/kubepods/burstable/pod1/\(id)", Unit(short, .container)),
            ("/system.slice/kubepods-pod1.slice:cri-containerd:\(id)", Unit(short, .container)),
            ("/machine.slice/libpod-\(id).scope/container", Unit(short, .container)),
            ("/libpod_parent/libpod-\(id)", Unit(short, .container)),
            (
                "/user.slice/user-1.slice/user@1.service/user.slice/libpod-\(id).scope",
                Unit(short, .container)
            ),
            (
                "/machine.slice/libpod-conmon-\(id).scope", Unit("libpod-conmon-\(id).scope", .scope)
            ),
            ("/lxc.payload.web1", Unit("web1", .container)),
            ("/lxc.payload.web1/init.scope", Unit("web1", .container)),
            (
                "/lxc.payload.web1/system.slice/nginx.service",
                Unit("nginx.service", .service, container: "web1")
            ),
            ("/lxc/web1", Unit("web1", .container)),
            ("/lxc.payload/web1", Unit("web1", .container)),
            (
                "/system.slice/docker-\(id.dropLast()).scope",
                Unit("docker-\(id.dropLast()).scope", .scope)
            ),
            (
                "/system.slice/docker-\(id.uppercased()).scope",
                Unit("docker-\(id.uppercased()).scope", .scope)
            ),
        ])
    func named(path: String, unit: Unit) {
        #expect(CgroupUnits(path: path).unit == unit)
        #expect(CgroupUnits(path: path).manager == nil)
    }

    @Test(
        arguments: [
            "/", "", "/system.slice", "/.service", "/\(id)", "/a;b.service", "/a b.service", "/ä.service",
            "/x/lxc/y", "/lxc.monitor.web1", "/system.slice/\(String(repeating: "a", count: 300)).service",
        ])
    func nameless(path: String) {
        #expect(CgroupUnits(path: path).unit == nil)
    }

    @Test func managers() {
        #expect(CgroupUnits(path: "/init.scope").manager == .system)
        #expect(CgroupUnits(path: "/init.scope").unit == nil)
        let user = CgroupUnits(path: "/user.slice/user-1000.slice/user@1000.service/init.scope")
        #expect(user.manager == .user(1000))
        #expect(user.unit?.name == "user@1000.service")
        #expect(CgroupUnits(path: "/lxc.payload.a/init.scope").manager == nil)
        #expect(CgroupUnits(path: "/a/b/user@1.service/init.scope").manager == nil)
    }
}
