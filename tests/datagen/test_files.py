import hashlib

import pytest

from datagen.errors import InputError
from datagen.files import (
    checksum,
    make_folder,
    read_table,
    require_file,
    visible_below,
    whole_file,
    write_table,
)


def test_a_file_replaces_the_old_one_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "scores.csv"
    for text in ("old", "new"):
        with whole_file(path) as partial:
            assert partial.name.endswith("scores.csv")
            partial.write_text(text)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def write_half(path):
    path.write_text("half")
    raise ZeroDivisionError


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        write_half(partial)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "scores.csv"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # which ends last
    assert list(tmp_path.iterdir()) == [path]


def write_on_a_full_disk(path):
    path.write_text("half")
    raise OSError(28, "No space left on device", str(path))


def test_what_the_machine_refuses_names_the_file_and_not_its_temporary_name(tmp_path):
    path = tmp_path / "scores.csv"
    with pytest.raises(OSError, match="No space left") as caught, whole_file(path) as partial:
        write_on_a_full_disk(partial)
    assert caught.value.filename == str(path)
    assert caught.value.errno == 28
    assert not list(tmp_path.iterdir())


def test_a_fault_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "scores.csv"):
        (tmp_path / "other.csv").read_text()
    assert caught.value.filename == str(tmp_path / "other.csv")


def test_a_folder_is_not_overwritten_by_a_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"), whole_file(tmp_path):
        pass


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path):
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == make_folder(folder)
    assert folder.is_dir()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_is_not_made_where_a_file_lies(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a folder"):
        make_folder(tmp_path / "file" / below)


def test_a_folder_whose_name_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be made"):
        make_folder(tmp_path / ("long" * 100))


def test_a_table_comes_back_as_text_with_empty_cells_for_none(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, [{"case": "a, b", "f1": 0.5}, {"case": "ü", "f1": None}], ("case", "f1"))
    assert read_table(path) == [{"case": "a, b", "f1": "0.5"}, {"case": "ü", "f1": ""}]


def test_a_table_without_rows_has_a_header(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, [], ("case", "f1"))
    assert path.read_text().split() == ["case,f1"]
    assert read_table(path) == []


def test_a_table_that_a_spreadsheet_wrote_is_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfcase,f1\r\na,1\r\n")
    assert read_table(path) == [{"case": "a", "f1": "1"}]


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("case,f1,case\na,1,b\n")
    with pytest.raises(InputError, match=r"table\.csv: two columns are named 'case'; remove one"):
        read_table(path)


@pytest.mark.parametrize(("rest", "kind"), [("b,0.", "fewer"), ("b,0.2,0.4,1", "more")])
def test_a_table_that_is_cut_off_or_ragged_is_refused(tmp_path, rest, kind):
    path = tmp_path / "table.csv"
    path.write_text(f"case,f1,dice\na,1,1\n{rest}")
    with pytest.raises(InputError, match=rf"row 2 below the header, case 'b', has {kind} cells"):
        read_table(path)


@pytest.mark.parametrize("content", [b"case\n\xff\xfe", b'case\n"' + b"x" * 140_000])
def test_a_table_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a CSV table"):
        read_table(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        require_file(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder; name a file"):
        require_file(tmp_path)


def test_the_checksum_depends_on_contents_and_order_not_on_names(tmp_path):
    first, second, copy = (tmp_path / name for name in "abc")
    for path, text in ((first, "1"), (second, "2"), (copy, "1")):
        path.write_text(text)
    assert checksum([first, second]) == checksum([copy, second]) != checksum([second, first])
    assert checksum([]) == hashlib.sha256().hexdigest()


def test_linked_folders_are_followed_once_and_hidden_ones_are_not(tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.nii").touch()
    for name in ("masks", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "near.nii").touch()
    (tmp_path / "again").symlink_to(tmp_path / "masks")
    (tmp_path / "masks" / "round").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(elsewhere)
    found = {str(path.relative_to(tmp_path)) for path in visible_below(tmp_path) if path.is_file()}
    assert found == {"masks/near.nii", "linked/far.nii"}
