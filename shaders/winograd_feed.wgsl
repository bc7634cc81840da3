// One feed of shaders/winograd_input.wgsl, as a template: the host instantiates it by renaming `path_` and `PATH_`, and
// writes in front of each instance
//
//   const PATH_LEVEL: u32             how many 2x2 averages lie between its tensor and the convolution: 0, 1
//   fn path_row(...) -> Line          a row under a tile, of shaders/winograd_row.wgsl or winograd_row_paired.wgsl

fn path_feed(f: Feed, workgroup: u32, local: u32) {
    let thread = workgroup * WORKGROUP + local;
    if thread >= f.threads {
        return;
    }
    let across = thread % f.across;
    let c = thread / f.across;
    let first = across * TILES;
    let image = first / (f.cols * f.rows);
    var col = first % f.cols;
    var row = first / f.cols % f.rows;
    var frame = image % f.t;
    var item = image / f.t;

    var places: array<Place, TILES>;
    for (var k = 0u; k < TILES; k++) {
        let plane = (item * f.channels + min(c, f.channels - 1u)) * f.t + frame;
        let y = i32(row * TILE) - i32(shape.padding_h);
        let x = i32(col * TILE) - i32(shape.padding_w);
        places[k] = Place(plane, y, x, c < f.channels);
        // The next tile, which may be of another row or image; behind the last of all it is the same again.
        if first + k + 1u < f.tiles {
            col++;
            if col == f.cols {
                col = 0u;
                row++;
            }
            if row == f.rows {
                row = 0u;
                frame++;
            }
            if frame == f.t {
                frame = 0u;
                item++;
            }
        }
    }

    // The points along w of each row of the window.
    var rows: array<array<Value, WINDOW>, WINDOW>;
    for (var i = 0u; i < WINDOW; i++) {
        var each: array<Line, TILES>;
        for (var k = 0u; k < TILES; k++) {
            each[k] = path_row(f, places[k], i);
        }
        var line: array<Value, WINDOW>;
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = together(each, j);
        }
        rows[i] = to_points(line);
    }
    let at = f.points + c * f.channel_stride + across;
    for (var j = 0u; j < WINDOW; j++) {
        var line: array<Value, WINDOW>;
        for (var i = 0u; i < WINDOW; i++) {
            line[i] = rows[i][j];
        }
        let points = to_points(line);
        for (var i = 0u; i < WINDOW; i++) {
            store_v(at + (i * WINDOW + j) * f.point_stride, points[i]);
        }
    }
}
