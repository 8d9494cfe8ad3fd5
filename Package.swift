// swift-tools-version: 6.1
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Warnings are errors everywhere in our own code; `make lint` looks at the style.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]

let package = Package(
    name: "mpscope",
    products: [.executable(name: "mpscope", targets: ["mpscope"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Libraries of the system.
        .systemLibrary(name: "CLibbpf", pkgConfig: "libbpf", providers: [.apt(["libbpf-dev"])]),
        .systemLibrary(name: "CLibmnl", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(name: "CNettle", pkgConfig: "nettle", providers: [.apt(["nettle-dev"])]),

        // kernel → bpf/ → CEvent (its words and its compiled programs) → BPF (load, attach, read)
        .target(
            name: "CEvent",
            cSettings: [.headerSearchPath("../../bpf"), .headerSearchPath("generated")]),
        .target(name: "CLinux"),
        .target(
            name: "BPF",
            dependencies: ["CLibbpf", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: strict),

        // → decoder → state machine
        .target(
            name: "Probes",
            dependencies: [
                "BPF", "CEvent", "CNettle", "Handshake",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(name: "Handshake", swiftSettings: strict),

        // → output
        .target(
            name: "Output",
            dependencies: [
                "Handshake",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),

        // What the kernel tells without BPF, and what makes real traffic.
        .target(
            name: "Kernel",
            dependencies: [
                "CLibmnl", "CLinux", "Handshake",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),
        .target(
            name: "Scenarios",
            dependencies: [
                "CLinux", "Handshake",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "mpscope",
            dependencies: [
                "BPF", "CLinux", "Handshake", "Kernel", "Output", "Probes", "Scenarios",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        // The programs for the out-of-tree stack, compiled for this machine, and a kernel played by hand.
        .target(
            name: "StackPrograms", path: "Tests/StackPrograms", exclude: ["shim"],
            cSettings: [.headerSearchPath("shim"), .headerSearchPath("../../bpf")]),
        .target(
            name: "StackSequences", dependencies: ["CEvent", "Handshake", "StackPrograms"],
            path: "Tests/StackSequences", swiftSettings: strict),
        // What the tracker makes of events, and whether that is true.
        .target(
            name: "Replaying", dependencies: ["Handshake", "TestSupport"], path: "Tests/Replaying",
            swiftSettings: strict),
        .testTarget(
            name: "StackTests",
            dependencies: [
                "CEvent", "Handshake", "Output", "Probes", "Replaying", "StackSequences", "TestSupport",
            ],
            exclude: ["Golden"], swiftSettings: strict),
        .testTarget(
            name: "HandshakeTests", dependencies: ["Handshake", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "OutputTests", dependencies: ["Handshake", "Output", "TestSupport"],
            resources: [.copy("Golden")], swiftSettings: strict),
        .testTarget(
            name: "KernelTests", dependencies: ["Kernel", "Handshake"], swiftSettings: strict),
        // Whether what was traced is what was played, for the live tests and the guest of the VMs.
        .target(
            name: "Judging", dependencies: ["Handshake", "Output", "Scenarios"], path: "Tests/Judging",
            swiftSettings: strict),
        // What runs in a VM, see Tests/VM.
        .executableTarget(
            name: "vm-guest", dependencies: ["Handshake", "Judging", "Scenarios"],
            path: "Tests/VM/Guest", swiftSettings: strict),
        // The actors of the scenarios are the program itself.
        .testTarget(
            name: "ScenariosTests",
            dependencies: [
                "Handshake", "Scenarios", "mpscope",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ProbesTests",
            dependencies: [
                "BPF", "CEvent", "CLibbpf", "Handshake", "Probes", "Replaying", "Scenarios", "StackSequences",
                "TestSupport",
            ],
            exclude: ["Programs", "Recorded"], swiftSettings: strict),
        .testTarget(
            name: "LiveTests",
            dependencies: [
                "Handshake", "Judging", "Kernel", "Output", "Scenarios", "mpscope",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            exclude: ["validate.py"], swiftSettings: strict),
    ]
)
