import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.data.csv_text import CsvFile
from aeflow.exceptions import SourceError


def read(tmp_path, content, *, header=True, block_bytes=1 << 20, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    csv = CsvFile.look(path, delimiter=",", header=header)
    cells = {name: [] for name in csv.columns}
    rows, malformed = [], {}
    for chunk in csv.read(csv.columns, block_bytes=block_bytes):
        malformed |= {int(chunk.row[i]): text for i, text in chunk.malformed.items()}
        rows += chunk.row.tolist()
        for column in cells:
            cells[column] += chunk.columns[column].to_pylist()
    return rows, cells, malformed


def test_a_line_with_other_columns_is_a_row_that_says_so(tmp_path):
    rows, cells, malformed = read(tmp_path, b"a,b\n1,2\n3\n\n4,5,6\r\n7,8")
    assert rows == [1, 2, 3, 4]
    assert cells == {"a": ["1", None, None, "7"], "b": ["2", None, None, "8"]}
    assert malformed == {
        2: "1 columns instead of 2 columns: '3'",
        3: "3 columns instead of 2 columns: '4,5,6'",
    }


def test_a_quote_that_never_closes_spoils_its_own_line_only(tmp_path):
    _, cells, malformed = read(tmp_path, b'a,b\n"1",2\n"3,4\n5,6\n' + b"7,8\n" * 200)
    assert cells["a"][:3] == ["1", None, "5"]
    assert list(malformed) == [2]
    assert len(cells["a"]) == 203


def test_a_quoted_cell_may_hold_the_delimiter_and_line_ends(tmp_path):
    _, cells, malformed = read(tmp_path, b'a,b\n"x,y","p\nq"\n1,2\n', block_bytes=14)
    assert cells == {"a": ["x,y", "1"], "b": ["p\nq", "2"]}
    assert malformed == {}


def test_without_a_header_columns_are_numbered_and_one_bad_first_line_decides_nothing(tmp_path):
    rows, cells, malformed = read(tmp_path, b"1\n1,2\n3,4\n", header=False)
    assert list(cells) == ["c01", "c02"]
    assert list(malformed) == [1]
    assert rows == [1, 2, 3]


def test_bytes_that_are_no_text_are_one_bad_cell(tmp_path):
    _, cells, _ = read(tmp_path, b"a,b\n\xff\xfe,2\n3,4\n")
    assert cells == {"a": ["\ufffd\ufffd", "3"], "b": ["2", "4"]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert list(read(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")[1]) == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_lines_has_no_columns_and_no_rows(tmp_path, content):
    assert read(tmp_path, content) == ([], {}, {})


def test_a_header_alone_gives_no_rows(tmp_path):
    assert read(tmp_path, b"a,b\n") == ([], {"a": [], "b": []}, {})


@pytest.mark.parametrize("content", ["a,b\n1,2\n".encode("utf-16"), b"\x00\x01\x02", b"\x89PNG\xff\n"])
def test_a_header_that_is_no_text_is_refused(tmp_path, content):
    with pytest.raises(SourceError, match="header line in UTF-8"):
        read(tmp_path, content)


def test_packed_files_are_unpacked_and_damaged_ones_refused(tmp_path):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 5000)
    assert len(read(tmp_path, packed, name="x.csv.gz")[0]) == 5000
    with pytest.raises(SourceError, match="cannot be read to its end"):
        read(tmp_path, packed[:-10], name="y.csv.gz")
    with pytest.raises(SourceError, match="cannot be read to its end"):
        read(tmp_path, b"a,b\n1,2\n", name="z.csv.gz")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match="directory"):
        CsvFile.look(tmp_path, delimiter=",", header=True)


LINES = st.lists(st.text(st.sampled_from('1,"\r\n x'), max_size=8), max_size=12)


@settings(max_examples=150, deadline=None)
@given(LINES, st.integers(1, 40))
def test_rows_do_not_depend_on_how_much_is_read_at_once(tmp_path_factory, lines, block_bytes):
    content = ("a,b\n" + "\n".join(lines)).encode()
    folder = tmp_path_factory.mktemp("blocks")
    assert read(folder, content, block_bytes=block_bytes) == read(folder, content)


def test_a_delimiter_beyond_ascii_is_refused(tmp_path):
    with pytest.raises(SourceError, match="ASCII delimiter"):
        CsvFile.look(tmp_path / "x.csv", delimiter="§", header=True)


def test_runs_of_blanks_and_tabs_part_cells_where_the_delimiter_is_whitespace(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"  a \t b\r\n1   2 \r\n\t3\t4\n\n5\n6  7")
    csv = CsvFile.look(path, delimiter="whitespace", header=True)
    assert csv.columns == ("a", "b")
    for block_bytes in (4, 1 << 20):
        chunks = list(csv.read(csv.columns, block_bytes=block_bytes))
        cells = [cell for chunk in chunks for cell in chunk.columns["b"].to_pylist()]
        assert cells == ["2", "4", None, "7"]
        assert [list(chunk.malformed.values()) for chunk in chunks if chunk.malformed] == [
            ["1 columns instead of 2 columns: '5'"]
        ]
