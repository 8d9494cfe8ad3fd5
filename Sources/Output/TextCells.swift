// SPDX-License-Identifier: Apache-2.0

/// How a piece of text looks; nothing but plain unless colour was asked for.
enum Style {
    case plain, dim, bold, green, yellow, red

    var on: StaticString {
        switch self {
        case .plain: ""
        case .dim: "\u{1b}[2m"
        case .bold: "\u{1b}[1m"
        case .green: "\u{1b}[32m"
        case .yellow: "\u{1b}[33m"
        case .red: "\u{1b}[31m"
        }
    }
}

/// Where a cell that is too wide loses what is too much; `…` stands there.
enum Cut { case end, middle }

enum Alignment { case left, right }

extension ByteBuffer {
    /// How many columns the text takes. It has been made safe, so that every character has a width.
    var columnCount: Int { withText { width($0[...]) } }

    private borrowing func withText<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        withBytes { raw in raw.withMemoryRebound(to: UInt8.self) { body($0) } }
    }

    /// Appends `cell` in exactly `wide` columns, or in fewer if it is shorter and not to be padded.
    mutating func append(
        cell: borrowing ByteBuffer, in wide: Int, cut: Cut = .end, aligned: Alignment = .left,
        padded: Bool = true, style: Style = .plain
    ) {
        let needed = cell.columnCount
        let padding = max(0, padded ? wide - needed : 0)
        if aligned == .right { append(UInt8(ascii: " "), times: padding) }
        let plain = style == .plain || cell.isEmpty
        if !plain { append(style.on) }
        if needed <= wide {
            append(cell)
        } else if wide > 0 {
            cell.withText { text in
                let tail = cut == .middle ? wide / 2 : 0
                let front = prefix(of: text, fitting: wide - 1 - tail)
                append(UnsafeBufferPointer(rebasing: text[..<front.end]))
                append("…")
                let back = suffix(of: text, fitting: tail)
                append(UnsafeBufferPointer(rebasing: text[back.start...]))
                // Characters of two columns may leave one over.
                if padded { append(UInt8(ascii: " "), times: wide - 1 - front.columns - back.columns) }
            }
        }
        if !plain { append("\u{1b}[0m") }
        if aligned == .left { append(UInt8(ascii: " "), times: padding) }
    }

    /// Appends `paragraph` in lines of at most `wide` columns; those after the first are indented.
    /// They are broken at spaces, of a list (`inItems`) only between items, which two spaces part.
    mutating func append(
        paragraph: borrowing ByteBuffer, wide: Int, indent: Int, inItems: Bool = false, style: Style = .plain
    ) {
        paragraph.withText { text in
            let space = UInt8(ascii: " ")
            var place = 0
            var isFirst = true
            repeat {
                if !isFirst { append(space, times: indent) }
                let room = max(1, isFirst ? wide : wide - indent)
                var end = place + prefix(of: UnsafeBufferPointer(rebasing: text[place...]), fitting: room).end
                // Not even one character fits: better too wide than never done.
                if end == place { end = min(text.count, place + 1) }
                if end < text.count {
                    let least = text[place...].firstIndex { $0 != space } ?? end
                    let line = UnsafeBufferPointer(rebasing: text[least...max(end, least)])
                    let between =
                        inItems
                        ? line.indices.dropLast().last { line[$0] == space && line[$0 + 1] == space } : nil
                    if let found = between ?? line.lastIndex(of: space) { end = least + found }
                }
                var next = end
                while next < text.count, text[next] == space { next += 1 }
                while end > place, text[end - 1] == space { end -= 1 }
                if style != .plain { append(style.on) }
                append(UnsafeBufferPointer(rebasing: text[place..<end]))
                if style != .plain { append("\u{1b}[0m") }
                append("\n")
                place = next
                isFirst = false
            } while place < text.count
        }
    }
}

private func width(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Int {
    var total = 0
    var place = text.startIndex
    while place < text.endIndex {
        guard let found = scalar(in: text.base, at: place) else { return total }
        total += columns(found.value) ?? 1
        place += found.length
    }
    return total
}

/// The longest start of `text` that fits.
private func prefix(
    of text: UnsafeBufferPointer<UInt8>, fitting wide: Int
) -> (end: Int, columns: Int) {
    var total = 0
    var place = 0
    while place < text.count, let found = scalar(in: text, at: place) {
        let next = total + (columns(found.value) ?? 1)
        if next > wide { break }
        total = next
        place += found.length
    }
    return (place, total)
}

/// The longest end of `text` that fits.
private func suffix(
    of text: UnsafeBufferPointer<UInt8>, fitting wide: Int
) -> (start: Int, columns: Int) {
    var total = 0
    var start = text.count
    var place = text.count
    while place > 0 {
        place -= 1
        if text[place] & 0xc0 == 0x80 { continue }
        guard let found = scalar(in: text, at: place) else { break }
        let next = total + (columns(found.value) ?? 1)
        if next > wide { break }
        total = next
        start = place
    }
    return (start, total)
}
