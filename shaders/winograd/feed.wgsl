// A feed of winograd/input: transforms the inputs of one path to the points. winograd/window, or winograd/window_paired
// in its place, reads the inputs.

#import winograd/input_shape
#import winograd/window as window

const PRESENT: bool = true;

// The inputs under a Winograd tile, transformed or not.
alias Square = array<array<Value, WINDOW>, WINDOW>;

fn make(f: Feed, thread: u32) {
    if thread >= f.threads {
        return;
    }
    let value = thread % f.row_threads;
    let c = thread / f.row_threads;
    var places = places_of(f, c, value * PARTS);
    var rows: Square;
    transform_rows(f, &places, &rows);
    store_columns(&rows, f.v_first + c * f.v_channel + value, f.v_point);
}

// The windows of channel c under PARTS Winograd tiles, starting at number `first`.
fn places_of(f: Feed, c: u32, first: u32) -> array<Place, PARTS> {
    let image = first / (f.cols * f.rows);
    var col = first % f.cols;
    var row = first / f.cols % f.rows;
    var frame = image % f.t;
    var item = image / f.t;
    var places: array<Place, PARTS>;
    for (var k = 0u; k < PARTS; k++) {
        let plane = (item * f.channels + min(c, f.channels - 1u)) * f.t + frame;
        let y = i32(row * TILE) - i32(shape.padding_h);
        let x = i32(col * TILE) - i32(shape.padding_w);
        places[k] = Place(plane, y, x, c < f.channels);
        // Goes to the next Winograd tile, which may lie in another row or image. After the last tile, stays there.
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
    return places;
}

// Transforms each row of the windows.
fn transform_rows(f: Feed, places: ptr<function, array<Place, PARTS>>, rows: ptr<function, Square>) {
    for (var i = 0u; i < WINDOW; i++) {
        var each = array<Line, PARTS>();
        for (var k = 0u; k < PARTS; k++) {
            each[k] = window_line_of(f, (*places)[k], i);
        }
        var line = array<Value, WINDOW>();
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = value_of(each[0][j], each[PARTS - 1u][j]);
        }
        (*rows)[i] = to_points(line);
    }
}

// Transforms each column and stores it. The first point goes to Value `at`, and points lie `distance` apart.
fn store_columns(rows: ptr<function, Square>, at: u32, distance: u32) {
    for (var j = 0u; j < WINDOW; j++) {
        var line = array<Value, WINDOW>();
        for (var i = 0u; i < WINDOW; i++) {
            line[i] = (*rows)[i][j];
        }
        let points = to_points(line);
        for (var i = 0u; i < WINDOW; i++) {
            v_store(at + (i * WINDOW + j) * distance, points[i]);
        }
    }
}
